"""ONNX to a Caffe `Net`, exact or refused."""
