"""The ONNX file format: bytes, tensors, versions, functions; used by `graph._onnx_io` alone."""
