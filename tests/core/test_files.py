import errno
import json
import os
import threading

import pytest

from polyvec.core.errors import FileProblemError
from polyvec.core.files import atomic_directory, atomic_path, cache_directory, sha256_file, write_json, write_text


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileProblemError, match="no space left on the disk"):
        write_text(tmp_path / "file.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_no_permission_is_one_clear_line():
    with pytest.raises(FileProblemError, match="cannot write /proc/polyvec"):
        write_text("/proc/polyvec/file.txt", "x")


def test_written_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file.txt", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_readers_never_see_half_a_file(tmp_path):
    target = tmp_path / "file.json"
    write_json(target, list(range(5000)))
    stop = threading.Event()
    seen = []

    def read() -> None:
        while not stop.is_set():
            seen.append(len(json.loads(target.read_text())))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        write_json(target, list(range(5000)))
    stop.set()
    reader.join()
    assert set(seen) == {5000}


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_atomic_directory_replaces_or_keeps(tmp_path):
    target = tmp_path / "folder"
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("1")
    with atomic_directory(target) as temporary:
        (temporary / "b").write_text("2")
    assert [path.name for path in target.iterdir()] == ["b"]

    def failing() -> None:
        with atomic_directory(target) as temporary:
            (temporary / "c").write_text("3")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        failing()
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_sha256_matches_the_standard_value(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(FileProblemError, match="no such file"):
        sha256_file(tmp_path / "none")


def test_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path))
    assert cache_directory("a", "b") == tmp_path / "a" / "b"
    monkeypatch.delenv("POLYVEC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "polyvec"
