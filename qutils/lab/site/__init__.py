"""The tutorial and the reports as pages."""
