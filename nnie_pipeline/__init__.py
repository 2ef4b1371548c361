"""From trained weights to a proven, NNIE-ready Caffe network."""

__version__ = "0.1.0"
