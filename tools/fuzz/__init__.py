"""Feed damaged files to every reader of the package and count what is no clean error.

``python -m tools.fuzz --seconds 60 --seed 0 [--reader NAME]``. The same seed gives the same inputs.
"""
