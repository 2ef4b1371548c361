"""The Caffe format: schema, `Net`, files, shape inference."""
