"""PyTorch Inductor on x86: ``.pt2`` files."""
