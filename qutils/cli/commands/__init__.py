"""Subcommands of ``qutils``, one module each, which holds a ``click.Command`` named ``command``."""
