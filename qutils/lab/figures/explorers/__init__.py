"""Live plots, one file for each explorer: built once, redrawn as sliders move."""
