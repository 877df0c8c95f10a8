"""The benchmark notebook run for real, in its smallest profile."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_it_publishes_page_results_checks_and_figures(reported):
    folder, found = reported("bench", batches=[2])
    assert (folder / "report.html").is_file()
    batches = found.provenance.parameters["batches"]
    assert {row.execution for row in found.rows} == {"float", "simulated", "integer"}
    names = {check.name.partition(": ")[2] for check in found.checks}
    assert names == {
        "INT8 weights, bytes of FP32's",
        "INT8 file, bytes of the FP32 file",
        *(f"INT8 latency of quantize_static's, batch {size}" for size in batches),
        "calibration memory, 128 pictures of 64",
        "QAT step of FP32 step",
    }
    assert {check.name: check.passed for check in found.checks if "bytes" in check.name} == {
        "resnet8: INT8 weights, bytes of FP32's": True,
        "resnet8: INT8 file, bytes of the FP32 file": True,
    }
    assert {
        f"{name}.png" for name in ("latency", "size", "calibration_memory", "training_step")
    } <= {path.name for path in (folder / "figures").iterdir()}
