"""Running a `Net` and giving back any blob."""
