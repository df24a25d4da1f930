import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save_file

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError, NotFoundError
from polyvec.core.vectors import Vectors

ALL = [".parquet", ".arrow", ".feather", ".npz", ".safetensors", ".vec", ".bin"]
WITH_METADATA = [".parquet", ".arrow", ".npz", ".safetensors"]


@pytest.fixture
def vectors():
    matrix = np.random.default_rng(0).normal(size=(300, 17)).astype(np.float32)
    matrix[0, :3] = [1e-38, 3.4e38, -0.0]
    return Vectors(matrix, ids=[f'wörd"{row}' for row in range(300)])


@pytest.mark.parametrize("suffix", ALL)
def test_round_trip_is_exact(vectors, tmp_path, suffix):
    vectors.save(tmp_path / f"file{suffix}")
    again = Vectors.load(tmp_path / f"file{suffix}")
    assert again == vectors
    assert again.matrix.tobytes() == vectors.matrix.tobytes()
    assert list(tmp_path.iterdir()) == [tmp_path / f"file{suffix}"]


@pytest.mark.parametrize("suffix", WITH_METADATA)
def test_round_trip_with_metadata_and_integer_ids(vectors, tmp_path, suffix):
    metadata = pa.table(
        {"year": pa.array(range(300)), "name": pa.array([None if i % 7 == 0 else f"n{i}" for i in range(300)])}
    )
    full = Vectors(vectors.matrix, ids=np.arange(300) * 3 - 50, metadata=metadata)
    full.save(tmp_path / f"file{suffix}")
    assert Vectors.load(tmp_path / f"file{suffix}") == full


@pytest.mark.parametrize("suffix", [*ALL, ".npy"])
def test_no_vectors_round_trip(tmp_path, suffix):
    ids = None if suffix == ".npy" else pa.array([], type=pa.string())
    empty = Vectors(np.empty((0, 5), np.float32), ids=ids)
    empty.save(tmp_path / f"file{suffix}")
    assert Vectors.load(tmp_path / f"file{suffix}").shape == (0, 5)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(width=32)))
def test_any_float32_survives_text(tmp_path_factory, matrix):
    path = tmp_path_factory.mktemp("text") / "file.vec"
    Vectors(matrix, ids=[f"w{row}" for row in range(len(matrix))]).save(path)
    assert np.array_equal(Vectors.load(path).matrix, matrix, equal_nan=True)


def test_gensim_reads_what_we_write_and_we_read_what_gensim_writes(vectors, tmp_path):
    for suffix, binary in ((".vec", False), (".bin", True)):
        vectors.save(tmp_path / f"ours{suffix}")
        keyed = KeyedVectors.load_word2vec_format(str(tmp_path / f"ours{suffix}"), binary=binary)
        assert keyed.index_to_key == vectors.ids.tolist()
        assert np.array_equal(keyed.vectors, vectors.matrix)
        keyed.save_word2vec_format(str(tmp_path / f"theirs{suffix}"), binary=binary)
        theirs = Vectors.load(tmp_path / f"theirs{suffix}")
        assert {key: vector.tolist() for key, vector in theirs} == {key: vector.tolist() for key, vector in vectors}


def test_numpy_pyarrow_and_safetensors_read_what_we_write(vectors, tmp_path):
    numbered = Vectors(vectors.matrix)
    numbered.save(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), vectors.matrix)
    vectors.save(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 17)
    assert table.column("id").to_pylist() == vectors.ids.tolist()
    vectors.save(tmp_path / "a.safetensors")
    assert np.array_equal(load_file(tmp_path / "a.safetensors")["vectors"], vectors.matrix)


def test_reads_foreign_files(tmp_path):
    matrix = np.arange(6.0).reshape(3, 2)
    pq.write_table(pa.table({"embedding": matrix.tolist(), "tag": ["x", "y", "z"]}), tmp_path / "f.parquet")
    from_parquet = Vectors.load(tmp_path / "f.parquet")
    assert from_parquet.matrix.dtype == np.float32
    assert np.array_equal(from_parquet.matrix, matrix)
    assert from_parquet.metadata.column("tag").to_pylist() == ["x", "y", "z"]
    save_file({"embeddings": matrix.astype(np.float16)}, tmp_path / "f.safetensors")
    assert np.array_equal(Vectors.load(tmp_path / "f.safetensors").matrix, matrix)
    from safetensors.torch import save_file as save_torch

    save_torch({"vectors": torch.from_numpy(matrix).to(torch.bfloat16)}, tmp_path / "b.safetensors")
    assert np.array_equal(Vectors.load(tmp_path / "b.safetensors").matrix, matrix)
    (tmp_path / "blank.vec").write_text("2 2 \na 1.5 -2 \nb 0 1e-3 \n")  # the original C program leaves a blank
    assert Vectors.load(tmp_path / "blank.vec")["b"].tolist() == [0.0, np.float32(1e-3)]


def test_memory_map_reads_from_disk(vectors, tmp_path):
    Vectors(vectors.matrix).save(tmp_path / "a.npy")
    mapped = Vectors.load(tmp_path / "a.npy", memory_map=True)
    assert isinstance(mapped.matrix, np.memmap)
    vectors.save(tmp_path / "a.arrow")
    before = pa.total_allocated_bytes()
    arrow = Vectors.load(tmp_path / "a.arrow", memory_map=True)
    assert pa.total_allocated_bytes() - before < vectors.nbytes / 2
    assert arrow == vectors
    with pytest.raises(InvalidValueError, match="mapped"):
        Vectors.load(tmp_path / "a.parquet", memory_map=True)


def test_other_libraries(vectors):
    tensor = vectors.to_torch()
    assert torch.equal(tensor, torch.from_numpy(vectors.matrix))
    assert np.array_equal(Vectors(tensor).matrix, vectors.matrix)
    assert np.array_equal(Vectors(tensor.to(torch.bfloat16)).matrix, tensor.to(torch.bfloat16).float().numpy())
    full = Vectors(vectors.matrix, ids=vectors.ids, metadata={"n": list(range(300))})
    assert Vectors.from_pandas(full.to_pandas()) == full
    assert Vectors.from_polars(full.to_polars()) == full
    assert Vectors.from_arrow(full.to_arrow()) == full
    assert np.asarray(full).shape == (300, 17)


def test_indexing_and_selection(vectors):
    full = Vectors(vectors.matrix, ids=vectors.ids, metadata={"n": list(range(300))})
    assert np.array_equal(full[5], full.matrix[5])
    part = full[[4, 2]]
    assert part.ids.tolist() == [full.ids[4], full.ids[2]]
    assert part.metadata.column("n").to_pylist() == [4, 2]
    assert len(full[np.zeros(300, bool)]) == 0
    assert full[10:20].ids.tolist() == full.ids[10:20].tolist()
    assert full.select([full.ids[7]]).matrix[0].tolist() == full.matrix[7].tolist()
    assert Vectors.concatenate([full[:100], full[100:]]) == full
    with pytest.raises(NotFoundError, match="nobody"):
        full["nobody"]
    with pytest.raises(InvalidValueError, match="mask"):
        full[np.zeros(3, bool)]


def test_normalized_leaves_zero_rows_zero():
    result = Vectors([[3.0, 4.0], [0.0, 0.0]]).normalized().matrix
    assert np.allclose(result, [[0.6, 0.8], [0, 0]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0, 2.0],), InvalidValueError, "two dimensions"),
        (([["a", "b"]],), InvalidTypeError, "numbers"),
        (([[1.0], [2.0, 3.0]],), InvalidValueError, "lengths"),
        (([[1.0], [2.0]], ["a"]), InvalidValueError, "one each"),
        (([[1.0], [2.0]], ["a", "a"]), InvalidValueError, "'a' occurs more than once"),
        (([[1.0], [2.0]], ["a", 1]), InvalidTypeError, "both"),
        (([[1.0], [2.0]], [1.5, 2.5]), InvalidTypeError, "float"),
        (([[1.0], [2.0]], ["a", None]), InvalidTypeError, "NoneType"),
        (([[1.0], [2.0]], ["a", "\ud800"]), InvalidValueError, "valid text"),
        (([[1.0], [2.0]], None, {"n": [1]}), InvalidValueError, "one each"),
        (([[1.0], [2.0]], None, {"id": [1, 2]}), InvalidValueError, "taken"),
        (("text",), InvalidTypeError, "str"),
        (([[]],), InvalidValueError, "0 dimensions"),
    ],
)
def test_bad_vectors_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Vectors(*arguments)


def test_check_finite_names_row_and_id():
    with pytest.raises(InvalidValueError, match=r"row 1 \(id 'b'\)"):
        Vectors([[1.0], [np.nan]], ids=["a", "b"]).check_finite()


def test_formats_without_room_refuse_to_lose_anything(vectors, tmp_path):
    full = Vectors(vectors.matrix, ids=vectors.ids, metadata={"n": list(range(300))})
    with pytest.raises(InvalidValueError, match="metadata"):
        full.save(tmp_path / "a.vec")
    with pytest.raises(InvalidValueError, match="ids"):
        vectors.save(tmp_path / "a.npy")
    with pytest.raises(InvalidValueError, match="white space"):
        Vectors([[1.0]], ids=["two words"]).save(tmp_path / "a.bin")
    with pytest.raises(InvalidValueError, match="suffix"):
        vectors.save(tmp_path / "a.docx")
    assert list(tmp_path.iterdir()) == []
    full.save(tmp_path / "a.vec", drop=["metadata"])
    assert Vectors.load(tmp_path / "a.vec") == vectors


def test_a_failed_save_keeps_the_old_file(vectors, tmp_path):
    vectors.save(tmp_path / "a.bin")
    with pytest.raises(InvalidValueError):
        Vectors([[1.0]], ids=[""]).save(tmp_path / "a.bin")
    assert Vectors.load(tmp_path / "a.bin") == vectors
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("suffix", [*ALL, ".npy"])
def test_damaged_files_are_format_errors(vectors, tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    Vectors(vectors.matrix).save(path) if suffix == ".npy" else vectors.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    shorter = content[: content.rindex(b" ")] if suffix == ".vec" else content[:-3]
    damaged = [b"", b"garbage", content[: len(content) // 2], shorter, b"\0" * 200, bytes(rng.bytes(500))]
    for damage in damaged:
        path.write_bytes(damage)
        with pytest.raises(FormatError, match="file"):
            Vectors.load(path)
    for _ in range(60):  # flipped bytes: either an error of ours or some vectors, never anything else
        flipped = bytearray(content)
        for position in rng.integers(0, min(len(content), 400), size=3):
            flipped[position] ^= int(rng.integers(1, 256))
        path.write_bytes(flipped)
        try:
            Vectors.load(path)
        except (FormatError, InvalidValueError, InvalidTypeError) as error:
            assert "\n" not in str(error)


def test_unreadable_paths(tmp_path):
    with pytest.raises(FileProblemError, match="no such file"):
        Vectors.load(tmp_path / "none.parquet")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileProblemError, match="folder"):
        Vectors.load(tmp_path / "folder.npy")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileProblemError, match="write"):
        Vectors([[1.0]]).save(tmp_path / "file" / "a.npy")


def test_nothing_is_unpickled(tmp_path):
    with open(tmp_path / "evil.npy", "wb") as handle:
        np.save(handle, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError):
        Vectors.load(tmp_path / "evil.npy")
