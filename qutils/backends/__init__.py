"""Backends, one folder each: how a file is written for a runtime, and what runs it."""
