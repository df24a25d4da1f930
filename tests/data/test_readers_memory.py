"""Files far larger than what is held in memory: documents come one by one, memory stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyvec.data.readers import limits, read

WORDS = "several words of an ordinary length that fill the line " * 20


def write_jsonl(path: Path, rows: int) -> None:
    with open(path, "w") as handle:
        for number in range(rows):
            handle.write(json.dumps({"id": number, "text": f"{WORDS}{number}"}) + "\n")


def write_json(path: Path, rows: int) -> None:
    with open(path, "w") as handle:
        handle.write("[")
        for number in range(rows):
            handle.write("," * (number > 0) + json.dumps({"id": number, "text": f"{WORDS}{number}"}) + "\n")
        handle.write("]")


def write_csv(path: Path, rows: int) -> None:
    with open(path, "w") as handle:
        handle.write("id,text\n")
        handle.writelines(f'{number},"{WORDS}{number}"\n' for number in range(rows))


def write_text(path: Path, rows: int) -> None:
    with open(path, "w") as handle:
        handle.writelines(f"{WORDS}{number}\n\n" for number in range(rows))


def write_parquet(path: Path, rows: int) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 1000):
            numbers = range(start, min(rows, start + 1000))
            writer.write_table(pa.table({"id": list(numbers), "text": [f"{WORDS}{number}" for number in numbers]}))


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "a.jsonl": write_jsonl,
    "a.json": write_json,
    "a.csv": write_csv,
    "a.txt": write_text,
    "a.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_memory_is_bounded_by_the_sample_not_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(limits, "SAMPLE_CHARACTERS", 1 << 18)
    monkeypatch.setattr(limits, "SINGLE_TEXT_CHARACTERS", 1 << 19)
    monkeypatch.setattr(limits, "TEXT_PART_CHARACTERS", 1 << 16)
    path = tmp_path / name
    WRITERS[name](path, 9_000)  # about 10 MB of text
    next(iter(read(path)))  # what is imported on first use is not counted
    tracemalloc.start()
    try:
        characters = sum(len(document.text) for document in read(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert characters > 9e6
    assert peak < 6e6


def test_first_document_comes_before_the_rest_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, 5000)
    with open(path, "a") as handle:
        handle.write("{broken\n")
    documents = read(path, on_error="raise")
    assert next(documents).id == "a.jsonl#0"
    documents.close()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_resident_memory_of_a_200_megabyte_file(tmp_path: Path, name: str) -> None:
    """In a process of its own: reading takes less than 250 MB more than importing; a text of 64 MB takes the most."""
    path = tmp_path / name
    WRITERS[name](path, 185_000)
    script = """
        import resource, sys
        import pyarrow.parquet
        from polyvec.data.readers import read

        def resident():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        before, count, characters = resident(), 0, 0
        for document in read(sys.argv[1]):
            count += 1
            characters += len(document.text)
        print(count, characters, resident() - before)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], capture_output=True, text=True, check=True
    )
    count, characters, growth = result.stdout.split()
    assert int(count) == 185_000 or name == "a.txt"
    assert int(characters) > 200e6
    assert float(growth) < 250
