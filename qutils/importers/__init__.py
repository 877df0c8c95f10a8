"""Models from files of other tools."""
