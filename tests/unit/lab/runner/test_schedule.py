import threading
import time
from concurrent.futures import Future

import nbformat
import pytest

from qutils.lab.runner import schedule
from tests.unit.lab.runner.toy import write_notebook


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Four notebooks, of which the second measures time, on a machine of two cores."""
    monkeypatch.setattr(schedule, "core_count", lambda: 2)
    found = [write_notebook(tmp_path / f"0{number}.ipynb") for number in range(4)]
    monkeypatch.setattr(schedule, "measures_time", lambda path: path == found[1])
    return found


def test_metadata_says_which_measure_time(tmp_path):
    path = write_notebook(tmp_path / "a.ipynb")
    assert not schedule.measures_time(path)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["qutils"] = {"alone": True}
    nbformat.write(notebook, path)
    assert schedule.measures_time(path)


@pytest.mark.parametrize(("cores", "width"), [(1, 1), (2, 2), (64, 2)])
def test_two_at_a_time_where_there_are_cores(notebooks, monkeypatch, cores, width):
    monkeypatch.setattr(schedule, "core_count", lambda: cores)
    assert schedule.width_for(notebooks) == width
    assert schedule.width_for(notebooks[:2]) == 1


def test_the_longest_start_first_and_unknown_ones_before_them(notebooks):
    a, b, c, d = notebooks
    assert schedule.longest_first(notebooks, {}) == [d, c, b, a]
    assert schedule.longest_first(notebooks, {a: 1.0, b: 9.0}) == [d, c, b, a]
    assert schedule.longest_first(notebooks, {a: 9.0, b: 1.0, c: 2.0, d: 3.0}) == [a, d, c, b]


@pytest.mark.parametrize("alone", [True, False])
def test_two_run_together_and_one_alone(notebooks, alone):
    lock, running, seen = threading.Lock(), set(), {}

    def run(path):
        with lock:
            running.add(path)
        time.sleep(0.1)
        with lock:
            seen[path] = len(running)
            running.discard(path)
        return path.name

    found = dict(schedule.side_by_side(notebooks, run, lambda: None, None if alone else ()))
    assert found == {path: path.name for path in notebooks}
    assert (list(found)[-1] == notebooks[1]) == alone
    assert seen[notebooks[1]] == (1 if alone else 2)
    assert max(seen.values()) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_stops_those_that_run(notebooks, error):
    stopped, began = threading.Event(), []

    def run(path):
        began.append(path)
        if path == notebooks[0]:
            raise error
        assert stopped.wait(timeout=30)
        raise KeyboardInterrupt

    with pytest.raises(error):
        list(schedule.side_by_side(notebooks, run, stopped.set))
    assert notebooks[1] not in began


def test_what_ended_well_is_given_before_a_failure_that_ended_at_the_same_time():
    failed, well = Future(), Future()
    failed.set_exception(KeyboardInterrupt())
    well.set_result(1)
    for futures in ({failed, well}, {well, failed}):
        assert list(schedule._ended(futures)) == [well, failed]
