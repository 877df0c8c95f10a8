"""From a float model to a simulated one: calibration, PTQ, QAT, conversion, checkpoints."""
