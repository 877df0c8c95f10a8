"""Number formats' arithmetic: schemes, scales, observers, exact integers."""
