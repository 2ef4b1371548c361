"""JSON in, one HTML file out."""
