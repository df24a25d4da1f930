"""What is computed once and kept by content hash."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from polyvec.core.errors import FileProblemError, InvalidTypeError, InvalidValueError
from polyvec.data.catalogue import cached_array, cached_tables


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))


class Counter:
    def __init__(self, result, error=None):
        self.result, self.error, self.calls = result, error, 0

    def __call__(self):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.result


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock")


def test_an_array_is_computed_once_and_memory_mapped():
    matrix = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    compute = Counter(matrix)
    first = cached_array("vectors", ["hash", "model"], compute)
    second = cached_array("vectors", ("hash", b"model"), compute)
    assert compute.calls == 1
    for kept in (first, second):
        assert isinstance(kept, np.memmap)
        assert kept.dtype == np.float32
        np.testing.assert_array_equal(kept, matrix)
        with pytest.raises(ValueError, match="read-only"):
            kept[0, 0] = 1.0


def test_other_keys_and_names_are_other_results():
    keys = ["ab", "abc", b"\xff", ["ab", "c"], ["a", "bc"], ["abc", ""], []]
    for number, key in enumerate(keys):
        assert cached_array("vectors", key, lambda number=number: np.full(3, number)).tolist() == [number] * 3
    assert cached_array("other", "ab", lambda: np.full(3, 99)).tolist() == [99] * 3
    for number, key in enumerate(keys):
        assert cached_array("vectors", key, Counter(None, AssertionError("computed again"))).tolist() == [number] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken"), OSError(28, "full")])
def test_a_computation_that_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(type(error)):
        cached_array("vectors", "key", Counter(None, error))
    with pytest.raises(type(error)):
        cached_tables("tables", "key", Counter(None, error))
    assert files(tmp_path) == []
    assert cached_array("vectors", "key", Counter(np.arange(2))).tolist() == [0, 1]


def test_a_damaged_file_is_computed_anew(tmp_path):
    compute = Counter(np.arange(1000))
    cached_array("vectors", "key", compute)
    (path,) = (tmp_path / "cache").rglob("*.npy")
    for damage in (b"", b"not an array", path.read_bytes()[:300]):
        path.write_bytes(damage)
        assert cached_array("vectors", "key", compute)[-1] == 999
    assert compute.calls == 4


def test_objects_and_odd_names_are_refused(tmp_path):
    with pytest.raises(InvalidTypeError, match="Python objects"):
        cached_array("vectors", "key", lambda: np.array([{}, None]))
    for name in ("", "../x", "a/b", ".x"):
        with pytest.raises(InvalidValueError, match="name"):
            cached_array(name, "key", lambda: np.arange(3))
    with pytest.raises(InvalidValueError, match="name"):
        cached_tables("tables", "key", lambda: {"../x": pa.table({"a": [1]})})
    assert files(tmp_path) == []


def test_empty_and_scalar_arrays_are_kept():
    assert cached_array("empty", "key", lambda: np.empty((0, 5), np.float32)).shape == (0, 5)
    compute = Counter(np.empty((0, 5), np.float32))
    assert cached_array("empty", "key", compute).shape == (0, 5)
    assert cached_array("number", "key", lambda: 3.5) == 3.5


def test_threads_at_once_compute_one_time():
    started = threading.Barrier(6)
    calls = []

    def compute():
        calls.append(1)
        return np.arange(100)

    def ask(_):
        started.wait()
        return int(cached_array("vectors", "key", compute).sum())

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [4950] * 6
    assert len(calls) == 1


def test_tables_come_back_as_they_were(tmp_path):
    tables = {
        "package": pa.table({"name": ["a", None], "size": pa.array([1, 2], pa.int64())}),
        "empty": pa.table({"x": pa.array([], pa.string())}),
    }
    compute = Counter(tables)
    assert cached_tables("tables", "key", compute) == tables
    again = cached_tables("tables", "key", compute)
    assert again == dict(sorted(tables.items()))
    assert compute.calls == 1
    next((tmp_path / "cache").rglob("package.parquet")).write_bytes(b"damaged")
    assert cached_tables("tables", "key", compute) == tables
    assert compute.calls == 2


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FileProblemError, match="cannot lock"):
        cached_array("vectors", "key", lambda: np.arange(3))
    assert (tmp_path / "file").read_text() == ""
