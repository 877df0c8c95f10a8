"""One server for all tests of the file: it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from qutils.lab.studies.coverage.plan import Profile
from qutils.lab.studies.coverage.results import checks, rows
from qutils.lab.studies.coverage.runs import Server, serving
from qutils.lab.studies.coverage.tables import coverage_table, latency_table, refused_table

pytestmark = pytest.mark.slow(reason="measures in a server of its own, with every tool")
SIZE = Profile(("idiom/embedding",), ("quantize_static",), 8, 8, 5)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def test_an_architecture_is_measured_by_every_tool(server: Server) -> None:
    found = {"idiom/embedding": server.measured("idiom/embedding", SIZE)}
    steps = found["idiom/embedding"]
    assert list(steps) == ["qutils", "fp32", "quantize_static", "latency"]
    assert all(figures["works"] for figures in steps.values()), steps
    assert steps["qutils"]["integer_share"] == 1
    assert steps["qutils"]["in_float"] == ["embedding"]
    assert 20 < steps["qutils"]["sqnr_db"] < steps["qutils"]["file_to_simulation_db"]
    assert set(steps["latency"]["over_fp32"]) == {"qutils", "quantize_static"}
    assert [row.method for row in rows(found, SIZE)] == ["ptq", "ptq-quantizestatic"]
    assert all(check.passed for check in checks(found, "full"))
    assert len(coverage_table(found)) == len(latency_table(found)) == 1
    assert refused_table(found).empty


def test_a_step_that_takes_too_long_is_a_row(server: Server) -> None:
    steps = server.measured("idiom/embedding", replace(SIZE, seconds=0.05, peers=()))
    assert "stopped" in steps["qutils"]["error"]
    found = {"idiom/embedding": steps}
    assert [row.metrics["works"] for row in rows(found, SIZE)] == [0]
    assert list(refused_table(found)["tool"]) == ["qutils"]
    assert not any(check.passed for check in checks(found, "full") if check.unit.startswith("%"))


def test_a_step_without_memory_is_a_row(server: Server) -> None:
    steps = server.measured("idiom/embedding", replace(SIZE, gib=0, peers=()))
    assert not steps.get("qutils", steps.get("start"))["works"]
