import json

import numpy as np
import pytest

from polyvec.core.errors import FileProblemError, InvalidValueError
from polyvec.data.documents import Document
from polyvec.encode.text import TextEncoder, encode_sources


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


def test_one_vector_a_document(tmp_path, encoder):
    rows = [{"id": f"r{row}", "title": f"Title {row}", "text": f"text number {row}"} for row in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    vectors = encode_sources(tmp_path / "rows.jsonl", encoder=encoder)
    assert vectors.ids.tolist() == [f"rows.jsonl#r{row}" for row in range(5)]
    assert vectors.metadata.column("title").to_pylist() == [f"Title {row}" for row in range(5)]
    assert np.array_equal(vectors.matrix, encoder.encode([f"Title {row}\ntext number {row}" for row in range(5)]))
    assert len(encode_sources(tmp_path, encoder=encoder, limit=2)) == 2


def test_one_vector_a_chunk(encoder):
    text = " ".join(f"word{number}" for number in range(600))
    vectors = encode_sources([Document("a", text), Document("b", "short")], encoder=encoder, output="chunks")
    columns = vectors.metadata.to_pydict()
    assert columns["document"].count("b") == 1
    assert columns["document"].count("a") > 1
    assert vectors.ids[0] == "a@0"
    assert max(end for name, end in zip(columns["document"], columns["end"], strict=True) if name == "a") == len(text)


def test_bad_input(tmp_path, encoder):
    with pytest.raises(FileProblemError):
        encode_sources(tmp_path / "none.txt", encoder=encoder)
    with pytest.raises(InvalidValueError, match="output"):
        encode_sources([Document("a", "text")], encoder=encoder, output="words")
    with pytest.raises(InvalidValueError, match="occurs more than once"):
        encode_sources([Document("a", "text"), Document("a", "other")], encoder=encoder)
