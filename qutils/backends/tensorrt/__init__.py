"""TensorRT for RTX on NVIDIA GPUs: ``.onnx`` files and engines."""
