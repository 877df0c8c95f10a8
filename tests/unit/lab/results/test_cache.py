import json

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.results import cache
from qutils.lab.results.cache import Cache, CorruptCacheWarning, source_digest


@pytest.fixture
def kept(tmp_path):
    return Cache(tmp_path / "cache", refresh=False)


def never():
    raise AssertionError("computed again")


def entries(kept, pattern="*/*.json"):
    return sorted(kept.folder.glob(pattern))


def test_value_is_computed_once(kept):
    assert kept.get_or_compute({"a": 1, "b": [2]}, lambda: {"x": (1, 2)}) == {"x": [1, 2]}
    assert kept.get_or_compute({"b": [2], "a": 1}, never) == {"x": [1, 2]}
    assert kept.summary().startswith("1 of 2 results reused, computed 2")
    assert "; 1 computed now; kept in" in kept.summary()


def test_null_is_a_value(kept):
    assert kept.get_or_compute({"a": 1}, lambda: None) is None
    assert kept.get_or_compute({"a": 1}, never) is None


def test_other_key_is_another_value(kept):
    kept.get_or_compute({"a": 1}, lambda: 1)
    assert kept.get_or_compute({"a": 1.5}, lambda: 2) == 2


@pytest.mark.parametrize("damage", ["{", "[]", "", "flipped"])
def test_damaged_entry_is_computed_again(kept, damage):
    kept.get_or_compute({"a": 1}, lambda: 92.5)
    (path,) = entries(kept)
    path.write_text(path.read_text().replace("92.5", "93.5") if damage == "flipped" else damage)
    with pytest.warns(CorruptCacheWarning, match="damaged"):
        assert kept.get_or_compute({"a": 1}, lambda: 92.5) == 92.5
    assert kept.get_or_compute({"a": 1}, never) == 92.5


def test_failed_computation_leaves_nothing(kept):
    with pytest.raises(AssertionError):
        kept.get_or_compute({"a": 1}, never)
    assert entries(kept) == []


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_only_json_is_kept(kept, value):
    with pytest.raises(InvalidInputError, match="JSON"):
        kept.get_or_compute({"a": 1}, lambda: value)
    with pytest.raises(InvalidInputError, match="JSON"):
        kept.get_or_compute({"a": value}, never)


def test_refresh_computes_again(kept, monkeypatch):
    kept.get_or_compute({"a": 1}, lambda: 1)
    monkeypatch.setenv(cache.REFRESH, "1")
    assert Cache(kept.folder).get_or_compute({"a": 1}, lambda: 2) == 2


def test_folder_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    assert Cache().folder == tmp_path


def test_file_is_made_once(kept):
    path = kept.file({"a": 1}, ".onnx", lambda path: path.write_bytes(b"abc"))
    assert (path.suffix, path.read_bytes()) == (".onnx", b"abc")
    assert kept.file({"a": 1}, ".onnx", lambda path: never()) == path
    (sidecar,) = entries(kept)
    assert json.loads(sidecar.read_text())["bytes"] == 3
    assert (kept.hits, kept.misses) == (1, 1)


@pytest.mark.parametrize("damage", ["changed", "removed", "sidecar"])
def test_damaged_file_is_made_again(kept, damage):
    path = kept.file({"a": 1}, ".bin", lambda path: path.write_bytes(b"abc"))
    if damage == "changed":
        path.write_bytes(b"abd")
    elif damage == "removed":
        path.unlink()
    else:
        entries(kept)[0].write_text("{")
    with pytest.warns(CorruptCacheWarning):
        again = kept.file({"a": 1}, ".bin", lambda path: path.write_bytes(b"abc"))
    assert again.read_bytes() == b"abc"


def test_interrupted_file_leaves_nothing(kept):
    def produce(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.file({"a": 1}, ".bin", produce)
    assert [path for path in kept.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("suffix", ["onnx", "./x"])
def test_suffix_is_checked(kept, suffix):
    with pytest.raises(InvalidInputError, match="suffix"):
        kept.file({}, suffix, lambda path: None)


def test_empty_file_is_refused(kept):
    with pytest.raises(InvalidInputError, match="nothing was written"):
        kept.file({"a": 1}, ".bin", lambda path: None)


def test_source_digest_follows_the_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("x = 1")
    before = source_digest("some_package", "qutils.files")
    assert before == source_digest("qutils.files", "some_package")
    (package / "a.py").write_text("x = 2")
    assert source_digest("some_package", "qutils.files") != before


@pytest.mark.parametrize("name", ["no_such_module", "qutils.no_such", "no_such.inner"])
def test_unknown_module_is_refused(name):
    with pytest.raises(InvalidInputError, match="no module"):
        source_digest(name)
