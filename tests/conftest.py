"""Settings of the whole test run: threads, seeds, hypothesis profile, a small data folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# Parallel workers share the cores: without this, four workers of many threads slow each other.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, (os.cpu_count() or 1) // _workers))

# The same examples on every machine; no deadline, as the first call of an operator is slow.
settings.register_profile("lab", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("lab")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test starts from the same seeds, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (libraries under test use the global generator)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent.parent
