"""ONNX Runtime on the CPU: ``.onnx`` files in QDQ form."""
