"""Driving explorers in a real browser: what tests, the latency benchmark and the film share."""
