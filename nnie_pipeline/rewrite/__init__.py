"""`Net` to `Net` passes, each verified."""
