"""Metrics of two dumps, layer by layer."""
