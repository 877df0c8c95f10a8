"""Running notebooks: parameters, runner, results, comparison, gallery."""
