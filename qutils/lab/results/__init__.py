"""What reports measured: results, provenance, comparison, overview."""
