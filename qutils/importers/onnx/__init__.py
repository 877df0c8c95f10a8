"""A float ONNX file becomes an ``nn.Module``, proven by ONNX Runtime on the file itself."""

from qutils.importers.onnx.load import Imported, import_onnx, load_onnx

__all__ = ["Imported", "import_onnx", "load_onnx"]
