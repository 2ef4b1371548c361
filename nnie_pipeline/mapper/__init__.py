"""The vendor's files: cfg, image list, compiled models."""
