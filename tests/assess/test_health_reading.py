"""Reading files of vectors for a report: the same as `Vectors.load`, in less memory."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyvec.assess.health.reading import read_vectors
from polyvec.core import vector_files
from polyvec.core.errors import FileProblemError, FormatError, InvalidValueError, PolyvecError
from polyvec.core.vectors import Vectors

MATRIX = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


@pytest.fixture
def never_whole(monkeypatch):
    """Reading a table whole is an error."""

    def refuse(*_, **__):
        raise AssertionError("read whole")

    monkeypatch.setattr(pq, "read_table", refuse)


@pytest.mark.parametrize("ids", [None, [f"doc{number}" for number in range(50)], list(range(100, 50, -1))])
@pytest.mark.parametrize("rows", [7, 16_384])
def test_parquet_is_read_in_batches_and_without_metadata(ids, rows, tmp_path, monkeypatch, never_whole):
    path = tmp_path / "vectors.parquet"
    Vectors(MATRIX, ids=ids, metadata={"text": ["x"] * 50, "year": range(50)}).save(path)
    monkeypatch.setattr(vector_files, "_BATCH_ROWS", rows)
    assert read_vectors(path) == Vectors(MATRIX, ids=ids)


@pytest.mark.parametrize("rows", [7, 16_384])
def test_the_same_as_the_whole_table_at_once(rows, tmp_path, monkeypatch):
    path = tmp_path / "vectors.parquet"
    metadata = pa.table({"text": ["é", None] * 25, "a.b": range(50), "tags": [["x"], []] * 25, "year": range(50)})
    Vectors(MATRIX, ids=[f"doc{number}" for number in range(50)], metadata=metadata).save(path)
    expected = vector_files.from_table(pq.read_table(path))
    monkeypatch.setattr(vector_files, "_BATCH_ROWS", rows)
    monkeypatch.setattr(pq, "read_table", lambda *_, **__: pytest.fail("read whole"))
    found = Vectors.load(path)
    assert found == expected
    assert found.metadata.column_names == ["text", "a.b", "tags", "year"]


def test_chosen_columns_of_parquet(tmp_path, never_whole):
    path = tmp_path / "two.parquet"
    table = pa.table({"key": ["a", "b"], "one": [[1.0], [2.0]], "two": [[3.0], [4.0]], "year": [5, 6]})
    pq.write_table(table, path)
    found = Vectors.load(path, id_column="key", vector_column="two")
    assert (found.ids.tolist(), found.matrix.tolist()) == (["a", "b"], [[3.0], [4.0]])
    assert found.metadata.to_pydict() == {"one": [[1.0], [2.0]], "year": [5, 6]}


@pytest.mark.parametrize("suffix", [".arrow", ".npz", ".safetensors"])
def test_other_formats_without_metadata(suffix, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    Vectors(MATRIX, metadata={"year": range(50)}).save(path)
    assert Vectors.load(path, metadata=False) == Vectors(MATRIX)


def test_a_parquet_file_of_no_rows(tmp_path):
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({"vector": pa.array([], pa.list_(pa.float32(), 4))}), path)
    assert Vectors.load(path).shape == (0, 4)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 6)])
def test_parquet_of_other_programs(kind, tmp_path, never_whole):
    path = tmp_path / "other.parquet"
    halves = MATRIX.astype(np.float16)
    table = pa.table(
        {"name": ["a"] * 50, "embedding": pa.array(list(halves.astype(kind.value_type.to_pandas_dtype())), kind)}
    )
    pq.write_table(table, path, row_group_size=11)
    assert read_vectors(path) == Vectors(halves.astype(np.float32))


@pytest.mark.parametrize("suffix", [".npy", ".arrow"])
def test_files_that_can_stay_on_the_disk_do(suffix, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    Vectors(MATRIX).save(path)
    found = read_vectors(path)
    assert np.array_equal(found.matrix, MATRIX)
    assert not found.matrix.flags.owndata


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".vec", ".bin"])
def test_other_formats(suffix, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    Vectors(MATRIX, ids=[f"d{number}" for number in range(50)]).save(path)
    assert read_vectors(path) == Vectors.load(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"embedding": [[1.0, 2.0], [3.0]]}, "of 1 to 2 dimensions"),
        ({"embedding": [[1.0, 2.0], None]}, "1 vectors are missing"),
        ({"text": ["a", "b"]}, "no column holds vectors"),
        ({"one": [[1.0], [2.0]], "two": [[1.0], [2.0]]}, "several columns hold vectors"),
        ({"id": ["a", "a"], "vector": [[1.0], [2.0]]}, "'a' occurs more than once"),
    ],
)
@pytest.mark.parametrize("rows", [1, 16_384])
def test_damage_is_told_of_the_whole_file(columns, message, rows, tmp_path, monkeypatch):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table(columns), path)
    monkeypatch.setattr(vector_files, "_BATCH_ROWS", rows)
    with pytest.raises(PolyvecError, match=message) as told:
        read_vectors(path)
    with pytest.raises(type(told.value)) as expected:
        vector_files.from_table(pa.table(columns))
    assert str(told.value) == f"{path}: {expected.value}"


def test_broken_missing_and_unknown_files(tmp_path):
    path = tmp_path / "vectors.parquet"
    Vectors(MATRIX).save(path)
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged or not a parquet file"):
        read_vectors(tmp_path / "cut.parquet")
    with pytest.raises(FileProblemError, match="no such file"):
        read_vectors(tmp_path / "missing.parquet")
    with pytest.raises(InvalidValueError, match="no known format"):
        read_vectors(tmp_path / "vectors.txt")
