"""One converter an ONNX operator; importing this package registers them all."""

from nnie_pipeline.onnx2caffe.operators import activations, arithmetic, convolutions, layout, pools

__all__ = ["activations", "arithmetic", "convolutions", "layout", "pools"]
