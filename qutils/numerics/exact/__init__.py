"""Exact integers: how kernels sum and requantize, and values that carry their grid."""
