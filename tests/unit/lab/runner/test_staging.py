import os
import subprocess
import sys

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.runner import staging
from qutils.lab.runner.status import load_status
from tests.unit.lab.runner.toy import ok, results, snapshot


def made(folder, name="results.json"):
    results().save(folder / name)
    ok().save(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_finished_folder_takes_the_place(tmp_path):
    target = tmp_path / "report"
    for name in ("old.json", "results.json"):
        with staging.staging(target) as folder:
            made(folder, name)
            ok(files=("old.json", "results.json", "status.json")).save(folder)
            staging.publish(folder, target)
    assert names(target) == ["results.json", "status.json"]
    assert names(tmp_path) == ["report"]


def test_files_of_the_reader_are_kept(tmp_path):
    target = tmp_path / "report"
    target.mkdir()
    made(target)
    (target / "notes.md").write_text("mine")
    (target / "more").mkdir()
    with staging.staging(target) as folder:
        made(folder)
        staging.publish(folder, target)
    assert (target / "notes.md").read_text() == "mine"
    assert (target / "more").is_dir()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_unfinished_folder_is_removed(tmp_path, error):
    target = tmp_path / "report"
    target.mkdir()
    made(target)
    before = snapshot(tmp_path)
    with pytest.raises(error), staging.staging(target) as folder:
        (folder / "half").write_text("")
        raise error
    assert snapshot(tmp_path) == before
    assert names(tmp_path) == ["report"]


def test_earlier_report_comes_back_if_the_move_fails(tmp_path):
    target = tmp_path / "report"
    target.mkdir()
    made(target)
    with pytest.raises(FileNotFoundError), staging.staging(target) as folder:
        folder.rmdir()
        staging.publish(folder, target)
    assert names(tmp_path) == ["report"]
    assert "results.json" in names(target)


def test_leftovers_of_killed_runs_are_recovered(tmp_path):
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    gone = process.stdout.strip()
    previous = tmp_path / f".report.previous-{gone}"
    previous.mkdir()
    made(previous)
    (tmp_path / f".report.staging-{gone}").mkdir()
    (tmp_path / f".report.staging-{os.getppid()}").mkdir()
    staging.recover(tmp_path / "report")
    assert names(tmp_path) == [f".report.staging-{os.getppid()}", "report"]


def test_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="something other than a report"):
        staging.check_destination(tmp_path)


def test_file_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InvalidInputError, match="is a file"):
        staging.check_destination(tmp_path / "a")


def test_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InvalidInputError, match="Nothing was run"):
        staging.check_destination(tmp_path / "a" / "b" / "report")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInputError, match="Permission denied"):
        staging.check_destination(tmp_path / "report")


def test_full_disk_is_refused(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from qutils.lab.runner.staging import probe_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
        "probe_write(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "InvalidInputError: cannot write into" in done.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", ["{", "[]", '{"outcome": "ok"}', ""])
def test_damaged_status_is_mended_by_the_next_run(tmp_path, damage):
    target = tmp_path / "report"
    target.mkdir()
    made(target)
    (target / "status.json").write_text(damage)
    (target / "failed.html").write_text("of an earlier run")
    (target / "notes.md").write_text("mine")
    with staging.staging(target) as folder:
        made(folder)
        staging.publish(folder, target)
    assert names(target) == ["notes.md", "results.json", "status.json"]
    assert load_status(target).outcome == "ok"
