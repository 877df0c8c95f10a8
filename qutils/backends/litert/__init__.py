"""LiteRT on the CPU: ``.tflite`` files."""
