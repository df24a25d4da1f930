"""Whatever the bytes of a file are: only documents and the package's errors come out, and text is always storable."""

from __future__ import annotations

import functools
import gzip
import io
import json
import logging
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers_support import paragraph, pdf_bytes, title

from polyvec.core.errors import PolyvecError
from polyvec.data.readers import ReadReport, read
from polyvec.data.readers.web_page import visible_text

FUZZ = settings(
    deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
SUFFIXES = [
    ".txt", ".md", ".html", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".pdf", ".txt.gz", ".jsonl.gz"
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Thousands of expected warnings would only slow the run down."""
    logger = logging.getLogger("polyvec")
    logger.disabled, before = True, logger.disabled
    logging.getLogger("polyvec.data.readers").disabled = True
    yield
    logger.disabled = before
    logging.getLogger("polyvec.data.readers").disabled = False


def check(content: bytes, suffix: str, **options: object) -> int:
    """Read `content` under both policies; the number of documents of the lenient one."""
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content)
        for policy in ("warn", "raise"):
            ids: list[str] = []
            report = ReadReport()
            try:
                for document in read(path, on_error=policy, report=report, **options):  # type: ignore[arg-type]
                    ids.append(document.id)
                    assert document.text.strip()
                    assert document.source == path.name
                    values = [document.id, document.text, document.title or "", *document.metadata]
                    values += [value for value in document.metadata.values() if isinstance(value, str)]
                    for value in values:
                        value.encode("utf-8")
                    for value in document.metadata.values():
                        assert value is None or type(value) in (str, int, float, bool)
                    json.dumps(document.metadata, allow_nan=False)
                    assert len(document.content_hash) == 64
            except PolyvecError as error:
                message = str(error)
                message.encode("utf-8")
                assert message
                assert "\n" not in message
            assert len(set(ids)) == len(ids)
            assert report.documents == len(ids)
            for line in report.lines():
                line.encode("utf-8")
                assert "\n" not in line
            json.dumps(report.to_dict())
            counts.append(len(ids))
    assert counts[0] >= counts[1]
    return counts[0]


@functools.cache
def valid(suffix: str) -> list[bytes]:
    """Whole files of a kind, to be damaged."""
    rng = random.Random(0)
    rows = [
        {
            "id": number,
            "title": f"Title {number} é",
            "text": paragraph(rng, 100),
            "year": 2000 + number,
            "x": [1, {"y": None}],
        }
        for number in range(12)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    page = "new\n\n" + "\n\n".join(f"{title(rng)}\n\n{paragraph(rng, 260)} ñ" for _ in range(5))
    table = pa.table(
        {"text": [row["text"] for row in rows], "n": [1.5] * 12, "kind": pa.array(["a", "b"] * 6).dictionary_encode()}
    )
    parquet, arrow, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, row_group_size=5, compression="zstd")
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    table_text = 'id;title;text\n1;"a;b";"line\nbreak ""q"""\n2;é;plain text here\n3;c;' + paragraph(rng, 80) + "\n"
    files = {
        ".txt": [page.encode(), page.encode("utf-16"), "naïve café ".encode("cp1252") * 9],
        ".md": [
            b"---\ntitle: 'A: b'\ntags: [a, {b: c}]\nday: 2024-01-02\n---\n# Head\n\nText\n",
            b"+++\ntitle='x'\n+++\nbody",
        ],
        ".html": [
            b"<!doctype html><head><title>T &amp; U</title><meta charset=utf-8><style>x</style></head>"
            b"<body><nav>m</nav>"
            b"<p hidden>h<p class='a'>One <b>two</b><br>three<table><tr><td>1<td>2</table><!-- c --><pre> a\n b</pre>"
        ],
        ".jsonl": [lines],
        ".json": [json.dumps(rows, indent=1).encode(), json.dumps({"data": rows}).encode(), lines],
        ".csv": [table_text.encode(), b"text,n\n" + b"some words,12\n" * 20],
        ".tsv": [table_text.replace(";", "\t").encode(), b'text\tn\nsome "words\t12\nmore\t\n'],
        ".parquet": [parquet.getvalue()],
        ".arrow": [arrow.getvalue(), stream.getvalue()],
        ".pdf": [pdf_bytes(["Page one has words", "Page two"], heading="Heading"), pdf_bytes(["Words"], password="")],
        ".txt.gz": [gzip.compress(page.encode(), mtime=0)],
        ".jsonl.gz": [gzip.compress(lines, mtime=0)],
    }
    return files[suffix]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_whole_files_are_readable(suffix: str) -> None:
    for content in valid(suffix):
        assert check(content, suffix) > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@FUZZ
@given(content=st.binary(max_size=400))
def test_random_bytes(suffix: str, content: bytes) -> None:
    check(content, suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@FUZZ
@given(data=st.data())
def test_damaged_files(suffix: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(valid(suffix))))
    kind = data.draw(st.sampled_from(["cut", "flip", "set", "insert", "delete", "repeat"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(max_size=40))
    elif kind == "delete":
        del content[place : place + data.draw(st.integers(1, 60))]
    elif kind == "repeat":
        content[place:place] = content[max(0, place - 60) : place]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = (
                content[place] ^ (1 << data.draw(st.integers(0, 7)))
                if kind == "flip"
                else data.draw(st.integers(0, 255))
            )
    check(bytes(content), suffix)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["text", "title", "id", "x", "\n", ""]) | st.text(max_size=5), JSON, max_size=5),
    max_size=8,
)


@FUZZ
@given(records=RECORDS, options=st.sampled_from([{}, {"id_field": "id"}, {"text_field": "x"}, {"title_field": "text"}]))
def test_any_json_records(records: list[dict], options: dict[str, str]) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    check(lines, ".jsonl", **options)
    check(json.dumps(records).encode(), ".json", **options)


@FUZZ
@given(st.text(st.sampled_from("ab1,;\t|\"'\n\r \u00e9\u2028"), max_size=200), st.sampled_from([".csv", ".tsv"]))
def test_any_table(content: str, suffix: str) -> None:
    check(content.encode(), suffix)
    check(("text,id\n" + content).encode(), suffix)


MARKUP = [
    "<p>", "<p hidden>", "</p>", "<nav>", "</nav>", "<title>", "</title>", "<pre>", "<script>", "</script>", "<!--",
    "-->", "<td>", "<a b='", '"', ">", "<", "&amp", "&#x;", "words ", "\n", "<head>", "<svg>", "</body>"
]  # fmt: skip


@FUZZ
@given(st.lists(st.sampled_from(MARKUP), max_size=40))
def test_any_markup(pieces: list[str]) -> None:
    page_title, text = visible_text("".join(pieces))
    assert text == text.strip()
    assert page_title is None or page_title.strip()


@FUZZ
@given(
    st.lists(
        st.one_of(
            st.integers(0, 3).map(lambda n: "Short Line Number " + "x" * n),
            st.just("w" * 90),
            st.just("long word " * 30),
        ),
        max_size=60,
    ),
    st.sampled_from(["\n", "\n\n"]),
)
def test_any_page_of_lines_loses_nothing_long(lines: list[str], separator: str) -> None:
    content = separator.join(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.txt"
        path.write_text(content)
        try:
            documents = list(read(path))
        except PolyvecError:
            assert not content.strip()
            return
    assert sum(document.text.count("long word") for document in documents) == content.count("long word")
    assert len({document.id for document in documents}) == len(documents)


ENCODINGS = [
    "utf-8", "utf-16", "utf-7", "cp1252", "gb18030", "idna", "punycode", "unicode_escape", "raw_unicode_escape",
    "iso2022_jp", "hz", "cp037"
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid .*escape sequence:DeprecationWarning")
@FUZZ
@given(st.binary(max_size=200), st.sampled_from(ENCODINGS))
def test_any_bytes_in_a_given_encoding(content: bytes, encoding: str) -> None:
    check(content, ".txt", encoding=encoding)
