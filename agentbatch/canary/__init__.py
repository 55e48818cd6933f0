"""A sample that is paid for first, and what it says of the rest of the run."""
