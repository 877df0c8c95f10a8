"""What a model and its file are worth: error, parity, accuracy, latency, memory, energy."""
