from __future__ import annotations

import numpy as np
import pytest

from qutils.cli.commands.summary import Fidelity


def test_sqnr_and_agreement_follow_their_equations():
    fidelity = Fidelity()
    reference = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    fidelity.add(reference, reference + np.array([[0.0, 0.5], [0.0, 0.0]], np.float32))
    fidelity.add(reference[:1], np.array([[4.0, 4.0]], np.float32))
    assert fidelity.sqnr_db == pytest.approx(10 * np.log10(75 / 1.25))
    assert fidelity.agreement == pytest.approx(200 / 3)
