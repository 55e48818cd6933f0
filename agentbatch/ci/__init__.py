"""What a CI system is told of a run: JUnit XML, and what GitHub Actions shows."""
