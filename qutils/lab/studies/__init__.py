"""What each report measures."""
