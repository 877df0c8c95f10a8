import json
import subprocess

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.results import provenance
from qutils.lab.results.provenance import Provenance, collect, git_state
from tests.unit.lab.runner.toy import origin

CPUINFO = {
    "x86": (
        "model name\t: A CPU\nflags\t\t: fpu avx2 amx_int8 avx512_vnni\n",
        "amx_int8 avx2 avx512_vnni",
    ),
    "arm": ("Features\t: fp asimddp i8mm\n", "neon_dotprod neon_i8mm"),
    "mac": ("machdep.cpu.brand_string: M1\nhw.optional.arm.FEAT_DotProd: 1\n", "neon_dotprod"),
    "plain": ("model name\t: avx2ish\n", ""),
}


@pytest.mark.parametrize("machine", CPUINFO)
def test_instruction_sets_are_read(monkeypatch, machine):
    text, flags = CPUINFO[machine]
    monkeypatch.setattr(provenance, "_cpu_info", lambda: text)
    assert provenance.isa_flags() == tuple(flags.split())


def test_processor_is_named(monkeypatch):
    monkeypatch.setattr(provenance, "_cpu_info", lambda: CPUINFO["x86"][0])
    assert provenance.cpu_model() == "A CPU"


def test_this_process_can_be_described():
    made = collect({"profile": "smoke", "rate": float("nan")}, "2026-01-02T03:04:05Z", 2.0)
    assert (made.profile, made.seconds, made.started) == ("smoke", 2.0, "2026-01-02T03:04:05Z")
    assert made.cores >= 1
    assert made.threads >= 1
    assert made.cpu
    plain = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert plain["parameters"]["rate"] == "nan"
    assert Provenance.from_json(plain).isa == made.isa


def test_interactive_run_is_dated_by_its_process():
    assert 0 < collect({}).seconds < 24 * 3600


@pytest.mark.parametrize("change", [{"started": "yesterday"}, {"started": None}])
def test_unusable_time_is_refused(change):
    with pytest.raises(InvalidInputError, match="started"):
        origin(**change)


def test_missing_key_is_named():
    plain = origin().to_json()
    del plain["cpu"]
    with pytest.raises(InvalidInputError, match="cpu"):
        Provenance.from_json(plain)


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_dirtiness_leaves_reports_out(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    commit, dirty = git_state(tmp_path)
    assert (len(commit), dirty) == (40, False)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "r.json").write_text("1")
    assert git_state(tmp_path) == (commit, False)
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == (commit, True)


def test_folder_without_git_has_no_commit(tmp_path):
    assert git_state(tmp_path) == (None, None)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("notes.txt", False), ("qutils/new.py", True), ("data/x.bin", True), ("data/a.skip", False)],
)
def test_new_files_count_where_they_can_change_a_result(tmp_path, name, counts):
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("*.skip")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("1")
    assert git_state(tmp_path)[1] is counts


def test_device_of_torch_is_told(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert collect({}).device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    assert collect({}).device == "A GPU"
    monkeypatch.delitem(provenance.sys.modules, "torch")
    assert provenance.device() is None


def test_provenance_of_an_earlier_version_has_no_device():
    plain = origin().to_json()
    del plain["device"]
    assert Provenance.from_json(plain).device is None
