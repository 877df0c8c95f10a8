import pytest

from qutils.lab.runner import kernel


@pytest.mark.parametrize(
    ("users", "threads", "expected"),
    [("", None, ""), ("", 1, "1"), ("3", 1, "3"), ("3", None, "3")],
)
def test_threads_are_limited_unless_the_user_has_set_them(
    tmp_path, monkeypatch, users, threads, expected
):
    monkeypatch.setenv("OMP_NUM_THREADS", users)
    made = kernel.environment(tmp_path, tmp_path, {}, "now", refresh=False, threads=threads)
    assert made["OMP_NUM_THREADS"] == expected
