"""OpenVINO on the CPU: the QDQ ``.onnx`` files that ONNX Runtime reads."""
