"""Network outputs to boxes and landmarks."""
