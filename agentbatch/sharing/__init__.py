"""Limits that several runs on one machine keep together: books in a locked file, and leases of what they give."""
