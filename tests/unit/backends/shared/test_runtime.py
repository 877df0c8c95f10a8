from __future__ import annotations

import numpy as np
import pytest

from qutils.backends.shared.runtime import RuntimeOptions, check_batch, require
from qutils.errors import InvalidInputError, MissingPackageError

FLOAT = np.dtype("float32")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_must_be_a_positive_integer(threads):
    with pytest.raises(InvalidInputError, match="threads must be"):
        RuntimeOptions(threads=threads)


@pytest.mark.parametrize("open_axis", ["n", None], ids=["named", "unnamed"])
def test_open_axes_take_any_size(open_axis):
    batch = np.zeros((7, 3), np.float32)
    assert check_batch(batch, (open_axis, 3), FLOAT) is batch


def test_unnamed_axes_show_as_question_marks():
    with pytest.raises(InvalidInputError, match=r"expects \[\?, 3\]"):
        check_batch(np.zeros((7, 4), np.float32), (None, 3), FLOAT)


def test_require_names_package_and_command():
    with pytest.raises(MissingPackageError, match=r"no_such is not installed.*pip install it"):
        require("no_such.module", "pip install it")
