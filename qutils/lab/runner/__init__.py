"""Running notebooks: parameters, processes, schedule, status."""
