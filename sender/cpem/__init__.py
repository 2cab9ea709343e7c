"""CPEM, the published face tracker: exported once from its checkpoint, run in ONNX Runtime."""
