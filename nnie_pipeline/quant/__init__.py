"""The number format, ranges and the simulation."""
