"""Notebooks: runner, studies, results, site, figures, explorers."""
