from __future__ import annotations

import pytest

from qutils.lab.studies.benchmark import measure
from qutils.lab.studies.benchmark.measure import DEFAULT, EXACT, FLOAT, OURS, PEER


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return measure.make_files("resnet8", 16, tmp_path_factory.mktemp("files"))


@pytest.fixture
def no_vnni(monkeypatch):
    monkeypatch.setattr(measure, "saturates", lambda: True)


def test_every_file_is_timed_in_every_setting(files, no_vnni):
    found = measure.time_files(files, batch=2, repeats=5)
    assert [(t.file, t.session) for t in found] == [
        (FLOAT, EXACT), (OURS, EXACT), (PEER, EXACT), (OURS, DEFAULT), (PEER, DEFAULT),
    ]  # fmt: skip
    assert {(t.latency.batch, t.latency.repeats) for t in found} == {(2, 5)}
    for t in found:
        assert (t.over_peer is None) == (t.file == FLOAT)
        if t.file == PEER:
            assert t.over_peer.median == 1  # against itself in the same setting
        if t.session == EXACT:
            assert t.over_exact.median == 1


def test_where_nothing_saturates_there_is_one_setting(monkeypatch):
    monkeypatch.setattr(measure, "saturates", lambda: False)
    assert measure.sessions() == (EXACT,)


def test_scores_are_of_the_same_pictures(files, no_vnni):
    found = {(s.file, s.session): s for s in measure.score_files(files, 200)}
    assert {s.accuracy.n for s in found.values()} == {200}
    assert min(s.accuracy.top1 for s in found.values()) > 80
    assert found[OURS, EXACT].agreement >= 99
    assert found[PEER, EXACT].agreement is None
