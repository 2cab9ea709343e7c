"""facewire's own face tracker: FB-Net finds a face, PE-Net reads it, in ONNX Runtime."""
