"""ExecuTorch with XNNPACK: ``.pte`` files."""
