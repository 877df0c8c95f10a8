"""Checksums, and writes that are whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qutils.errors import DataError
from qutils.files import atomic_path, checksums, data_dir, intact, sha256, verified, write_text


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A file of 3,000,000 bytes with its ``SHA256SUMS`` beside it."""
    path = tmp_path / "blob.bin"
    path.write_bytes(bytes(range(250)) * 12_000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  blob.bin\n")
    return path


def test_sha256_of_an_empty_file_is_the_published_constant(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(tmp_path / "empty") == expected


def test_intact_returns_the_path_of_a_sound_file(listed: Path) -> None:
    assert intact(listed) == listed


def test_one_flipped_bit_is_found_and_both_checksums_are_named(listed: Path) -> None:
    expected = sha256(listed)
    blob = bytearray(listed.read_bytes())
    blob[2_000_000] ^= 1
    listed.write_bytes(blob)
    with pytest.raises(DataError, match="corrupt or truncated") as caught:
        intact(listed)
    assert expected in str(caught.value)
    assert sha256(listed) in str(caught.value)
    assert f"git checkout -- {listed}" in str(caught.value)


def test_truncated_file_is_found_and_its_size_is_named(listed: Path) -> None:
    listed.write_bytes(listed.read_bytes()[:1_234_567])
    with pytest.raises(DataError, match="1,234,567 bytes"):
        intact(listed)


def test_missing_file_names_the_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.bin is missing. Restore it"):
        verified(tmp_path / "gone.bin", "0" * 64)


def test_file_that_is_not_listed_is_refused(listed: Path) -> None:
    other = listed.with_name("other.bin")
    other.write_bytes(b"x")
    with pytest.raises(DataError, match=r"no checksum of other\.bin"):
        intact(other)


def test_missing_listing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SHA256SUMS is missing"):
        checksums(tmp_path)


@pytest.mark.parametrize("text", ["deadbeef\n", "a b c\n"], ids=["one-word", "three-words"])
def test_garbled_listing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(text)
    with pytest.raises(DataError, match="lines of the form"):
        checksums(tmp_path)


def test_data_dir_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUTILS_DATA", str(tmp_path))
    assert data_dir() == tmp_path


def test_atomic_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_in_the_middle_leaves_the_earlier_file_intact(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "earlier")
    with pytest.raises(failure), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device")
def test_full_disk_leaves_the_earlier_file_intact(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "earlier")
    with (
        pytest.raises(DataError, match="No space left on device. What was there before is intact"),
        atomic_path(path),
        open("/dev/full", "w") as full,
    ):
        full.write("half")
    assert path.read_text() == "earlier"


def test_folder_that_cannot_be_written_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # a folder under a file cannot be made, not even by root
    with pytest.raises(DataError, match="cannot write into .*file.*Choose another folder"):
        write_text(tmp_path / "file" / "a.txt", "text")
