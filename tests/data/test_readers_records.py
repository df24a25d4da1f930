"""JSON, JSON lines, CSV, TSV, Parquet and Arrow: fields, ids, types, malformed input."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from readers_support import paragraph, read_all, write

from polyvec.core.errors import FormatError
from polyvec.data.readers import limits
from polyvec.data.readers.columnar import read_columnar
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.report import ReadReport
from polyvec.data.readers.scalars import to_scalar
from polyvec.data.readers.seen_ids import SeenIds
from polyvec.data.readers.source_file import SourceFile

ROWS = [
    {"id": 7, "title": "The first", "text": "Some words, “quoted” and\nbroken", "year": 2001, "score": 1.5, "ok": True},
    {
        "id": 9,
        "title": "The second",
        "text": 'Other; words | with "signs"\tand tabs',
        "year": None,
        "score": None,
        "ok": False,
    },
    {"id": 12, "title": "The third", "text": "Café 😀", "year": 2003, "score": -2.0, "ok": True},
]


def as_jsonl(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list[dict], delimiter: str = ",") -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def as_parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=2)
    return buffer.getvalue()


def as_arrow(rows: list[dict]) -> bytes:
    table, buffer = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return buffer.getvalue()


def as_arrow_stream(rows: list[dict]) -> bytes:
    table, buffer = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_feather(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    feather.write_feather(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


WRITERS = {
    "jsonl": as_jsonl,
    "ndjson": as_jsonl,
    "json": lambda rows: json.dumps(rows, indent=1).encode(),
    "wrapped.json": lambda rows: json.dumps({"count": len(rows), "links": {"next": None}, "items": rows}).encode(),
    "lines.json": as_jsonl,
    "csv": as_csv,
    "semicolon.csv": lambda rows: as_csv(rows, ";"),
    "bar.csv": lambda rows: as_csv(rows, "|"),
    "tsv": lambda rows: as_csv(rows, "\t"),
    "parquet": as_parquet,
    "arrow": as_arrow,
    "ipc": as_arrow_stream,
    "feather": as_feather,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_records_come_out_of_every_format(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"table.{kind}", WRITERS[kind](ROWS))
    documents, report = read_all(path)
    name = path.name
    assert [document.id for document in documents] == [f"{name}#7", f"{name}#9", f"{name}#12"]
    assert [document.title for document in documents] == ["The first", "The second", "The third"]
    assert [document.text for document in documents] == [row["text"] for row in ROWS]
    boolean = str if "csv" in kind or kind == "tsv" else bool
    assert [document.metadata for document in documents] == [
        {"year": 2001, "score": 1.5, "ok": boolean(True)},
        {"year": None, "score": None, "ok": boolean(False)},
        {"year": 2003, "score": -2.0, "ok": boolean(True)},
    ]
    assert not report.left_out
    assert {document.source for document in documents} == {name}


def test_ids_are_the_same_in_every_run_and_follow_the_id_not_the_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", as_jsonl(ROWS))
    before = {document.text: document.id for document in read_all(path)[0]}
    write(path, as_jsonl(list(reversed(ROWS))))
    assert {document.text: document.id for document in read_all(path)[0]} == before


def test_without_an_id_the_row_or_line_is_the_id(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"text": "one"}\n\n{"text": "two"}\n"three"\n')
    write(tmp_path / "b.csv", 'text,n\n"one\nmore",1\ntwo,2\n')
    write(tmp_path / "c.json", '[{"text": "one"}, "two"]')
    ids = [document.id for document in read_all(tmp_path)[0]]
    assert ids == ["a.jsonl#1", "a.jsonl#3", "a.jsonl#4", "b.csv#1", "b.csv#2", "c.json#1", "c.json#2"]


@pytest.mark.parametrize(
    ("record", "text", "title", "part"),
    [
        ({"body": "b", "text": "t"}, "t", None, "1"),
        ({"Full_Text": "f", "description": "d", "NAME": "n"}, "f", "n", "1"),
        ({"Review Text": "r", "Headline": "h", "_id": "x"}, "r", "h", "x"),
        ({"abstract": "a", "summary": "s", "doc_id": 5}, "a", None, "5"),
        ({"colour": "red", "remark": "a longer text", "name": "n"}, "a longer text", "n", "1"),
        ({"name": "a long name of a thing", "code": "x"}, "a long name of a thing", None, "1"),
        ({"title": "only a title", "id": "k"}, "only a title", None, "k"),
        ({"text": 5, "note": "words"}, "words", None, "1"),
        ({"text": None, "note": "words"}, "words", None, "1"),
        ({"text": ["one", "two"], "id": 3.0}, "one\ntwo", None, "3"),
        ({"id": True, "text": "t"}, "t", None, "1"),
        ({"id": "  ", "text": "t"}, "t", None, "1"),
    ],
)
def test_choice_of_fields(tmp_path: Path, record: dict, text: str, title: str | None, part: str) -> None:
    documents, _ = read_all(write(tmp_path / "a.jsonl", as_jsonl([record])))
    assert [(document.text, document.title, document.id) for document in documents] == [
        (text, title, f"a.jsonl#{part}")
    ]


def test_named_fields_win(tmp_path: Path) -> None:
    row = {"id": 1, "key": "k", "text": "t", "year": 1999, "name": "n", "title": "x"}
    path = write(tmp_path / "a.jsonl", as_jsonl([row]))
    (document,), _ = read_all(path, text_field="year", title_field="key", id_field="name")
    assert (document.text, document.title, document.id) == ("1999", "k", "a.jsonl#n")
    assert document.metadata == {"id": 1, "text": "t", "title": "x"}


@pytest.mark.parametrize("argument", ["text_field", "title_field", "id_field"])
@pytest.mark.parametrize("kind", WRITERS)
def test_named_field_that_is_not_there(tmp_path: Path, kind: str, argument: str) -> None:
    path = write(tmp_path / f"a.{kind}", WRITERS[kind](ROWS))
    with pytest.raises(
        FormatError, match=rf"{argument} 'txet' is not there; the fields are: id, title, text, year, score, ok"
    ):
        read_all(path, **{argument: "txet"})


def test_no_text_names_the_fields(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no field holds text; the fields are: x, y z; name one as text_field"):
        read_all(write(tmp_path / "a.jsonl", '{"x": 1, "y\\nz": 2.5}\n{"x": 3}'))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("policy", ["warn", "raise"])
def test_id_that_comes_twice_in_a_named_field_is_an_error(tmp_path: Path, kind: str, policy: str) -> None:
    rows = [{"id": name, "text": f"text {name}"} for name in ("a", "b", "c", "b")]
    path = write(tmp_path / f"a.{kind}", WRITERS[kind](rows))
    with pytest.raises(FormatError, match=r"(row|line|record) 4: id 'b' of field 'id' was used in \1 2 already"):
        read_all(path, id_field="id", on_error=policy)


def test_id_that_comes_twice_in_a_field_that_was_only_found(tmp_path: Path) -> None:
    rows = [{"id": number, "text": f"text {number}"} for number in range(limits.SAMPLE_RECORDS)]
    rows += [{"id": 5, "text": "again"}, {"id": None, "text": "none"}, {"id": "5~1001", "text": "tricky"}]
    documents, report = read_all(write(tmp_path / "a.jsonl", as_jsonl(rows)))
    assert len({document.id for document in documents}) == len(documents) == len(rows)
    assert documents[limits.SAMPLE_RECORDS].id == "a.jsonl#5~1001"
    assert report.left_out_counts["ids missing or repeated in 'id'"] == 3


def test_field_that_repeats_from_the_start_is_no_id(tmp_path: Path) -> None:
    rows = [{"id": number // 2, "text": f"text {number}"} for number in range(4)]
    documents, report = read_all(write(tmp_path / "a.jsonl", as_jsonl(rows)))
    assert [document.id for document in documents] == [f"a.jsonl#{number}" for number in (1, 2, 3, 4)]
    assert [document.metadata["id"] for document in documents] == [0, 0, 1, 1]
    assert not report.left_out


def test_record_without_a_value_in_the_named_id_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": "a", "text": "one"}\n{"id": "", "text": "two"}\n{"text": "three"}\n')
    documents, report = read_all(path, id_field="id")
    assert [document.id for document in documents] == ["a.jsonl#a"]
    assert report.left_out_counts["lines without id"] == 2
    with pytest.raises(FormatError, match="line 2: the id field 'id' has no usable value"):
        read_all(path, id_field="id", on_error="raise")


def test_rows_without_text(tmp_path: Path) -> None:
    documents, report = read_all(write(tmp_path / "a.csv", "title,text\nA,one\nB,\n,\n , \n,two\n"))
    assert [(document.title, document.text) for document in documents] == [("A", "one"), (None, "B"), (None, "two")]
    documents, report = read_all(
        write(tmp_path / "b.jsonl", '{"text": "a"}\n{"text": " "}\n{"other": 1}\n'), on_error="raise"
    )
    assert len(documents) == 1
    assert report.left_out_counts["lines without text"] == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (True, None)),
        (True, (True, True)),
        (2**63 - 1, (True, 2**63 - 1)),
        (2**63, (True, str(2**63))),
        (-(2**63), (True, -(2**63))),
        (float("nan"), (True, None)),
        (float("-inf"), (True, None)),
        (1.5, (True, 1.5)),
        ("a\ud800\0", (True, "a\ufffd")),
        (b"text", (True, "text")),
        (b"\xff\x00", (False, None)),
        (Decimal("1.25"), (True, 1.25)),
        (Decimal("NaN"), (True, None)),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), (True, "2024-01-02T03:04:05+00:00")),
        (date(2024, 1, 2), (True, "2024-01-02")),
        (time(3, 4), (True, "03:04:00")),
        (timedelta(minutes=2), (True, 120.0)),
        ([1, "é", None], (True, '[1, "é", null]')),
        ({"a": {"b": 1}}, (True, '{"a": {"b": 1}}')),
        (["x" * 5000], (False, None)),
        ([0] * 5000, (False, None)),
        (object(), (False, None)),
    ],
)
def test_values_as_metadata(value: object, expected: tuple[bool, object]) -> None:
    kept, scalar = to_scalar(value)
    assert (kept, scalar) == expected
    assert type(scalar) is type(expected[1])


def test_integer_that_python_does_not_write_in_decimal() -> None:
    assert to_scalar(10**5000) == (True, hex(10**5000))


def test_nested_and_long_values_of_records(tmp_path: Path) -> None:
    row = {"text": "t", "tags": ["a", "b"], "vector": [0.5] * 2000, "deep": {"x": 1}, "nan": float("nan")}
    (document,), report = read_all(write(tmp_path / "a.jsonl", as_jsonl([row])))
    assert document.metadata == {"tags": '["a", "b"]', "deep": '{"x": 1}', "nan": None}
    assert report.left_out["a.jsonl"]["values too long or binary"].examples == ["vector"]


# JSON


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "Expecting property name"),
        ("[1, 2]", "not a JSON object or string"),
        ("nonsense", "Expecting value"),
        ("17", "not a JSON object or string"),
        ('{"text": "half', "Unterminated string"),
        ('{"text": "x", "n": ' + "9" * 5000 + "}", "too many digits"),
        ('{"a":' * 20_000, "nested too deeply"),
    ],
)
def test_malformed_line_is_left_out_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "one"}}\n{line}\n{{"text": "two"}}\n')
    documents, report = read_all(path)
    assert [document.id for document in documents] == ["a.jsonl#1", "a.jsonl#3"]
    (example,) = report.left_out["a.jsonl"]["malformed lines"].examples
    assert example.startswith("line 2")
    with pytest.raises(FormatError, match=f"line 2: .*{reason}"):
        read_all(path, on_error="raise")


def test_file_without_one_good_line_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="none of its 2 lines is a JSON object; line 1"):
        read_all(write(tmp_path / "a.jsonl", "{broken\n\nnot json\n"))


def test_array_under_the_name_of_json_lines_is_read_as_an_array(tmp_path: Path) -> None:
    documents, report = read_all(write(tmp_path / "b.jsonl", '\n[\n {"text": "one"},\n {"text": "two"}\n]'))
    assert [(document.id, document.text) for document in documents] == [("b.jsonl#1", "one"), ("b.jsonl#2", "two")]
    assert any("a JSON array" in line for line in report.lines())


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('[{"text": "one"}, {"text": "two"}]', ["one", "two"]),
        (' \n[ "one" ,\n"two" ] \n', ["one", "two"]),
        ('{"text": "one"}', ["one"]),
        ('{"text": "one", "parts": [{"text": "inner"}]}', ["one"]),
        ('{"data": [{"text": "one"}, {"text": "two"}], "meta": {"n": 2}}', ["one", "two"]),
        ('{"data": [{"text": "one"}], "other": [{"text": "no"}]}', ["one"]),
        ('{"text": "one"} {"text": "two"}\n"three"', ["one", "two", "three"]),
        ('"just a string"', ["just a string"]),
        ('\ufeff[{"text": "\\u00e9\\ud83d\\ude00\\ud800\\u0000"}]', ["é😀\ufffd"]),
    ],
)
def test_shapes_of_json(tmp_path: Path, content: str, texts: list[str]) -> None:
    assert [document.text for document in read_all(write(tmp_path / "a.json", content))[0]] == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "one"}\n,\n{"text": }]', "line 3: not JSON"),
        ('[{"text": "one"}\n{"text": "two"}]', "line 2: a comma is missing"),
        ('[{"text": "one"},\n', "line 2: a value is missing at the end"),
        ('[{"text": "one"}\n', "line 2: the array ends too early"),
        ('[{"text": "one"}]\n\nmore', "line 3: there is more text behind the end"),
        ("[]", "has no records"),
        ("{}", "no field holds text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("17 18", "not a JSON object"),
        ('[{"text": "x", "n": ' + "9" * 5000 + "}]", "too many digits"),
        ("true", "not a JSON object"),
    ],
)
def test_malformed_json(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "a.json", content)
    with pytest.raises(FormatError, match=message):
        read_all(path, on_error="raise")
    report = ReadReport()
    try:
        documents, _ = read_all(path, report=report)
    except FormatError:
        assert report.skipped_count == 1
    else:
        assert [document.text for document in documents] == ["one"]
        assert message.split(":")[0] in report.incomplete[0].reason


def test_values_that_end_at_a_block_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyvec.data.readers import json_records

    rng = random.Random(0)
    values = [
        {"text": paragraph(rng, rng.randrange(1, 60)), "n": rng.randrange(10**9), "x": [1.5, {"y": "]}"}]}
        for _ in range(40)
    ]
    content = json.dumps(values, indent=1)
    for chunk in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(json_records, "CHUNK_CHARACTERS", chunk)
        documents, _ = read_all(write(tmp_path / "a.json", content))
        assert [document.text for document in documents] == [value["text"] for value in values]
        assert [document.metadata["n"] for document in documents] == [value["n"] for value in values]
        with pytest.raises(FormatError, match=r"line \d+: "):
            read_all(write(tmp_path / "b.json", content[:-30]), on_error="raise")


def test_number_that_ends_at_a_block_is_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyvec.data.readers import json_records

    monkeypatch.setattr(json_records, "CHUNK_CHARACTERS", 1)
    documents, report = read_all(write(tmp_path / "a.json", '[{"text": "one"}, 123456, {"text": "two"}]'))
    assert [document.id for document in documents] == ["a.json#1", "a.json#3"]
    assert report.left_out_counts == {"malformed records": 1}


def test_value_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LINE_CHARACTERS", 100_000)
    monkeypatch.setattr(limits, "MAX_DOCUMENT_CHARACTERS", 100_000)
    for content in ('[{"text": "' + "x" * 500_000 + '"}]', '{"text": "' + "x" * 500_000):
        with pytest.raises(FormatError, match="100,000 characters"):
            read_all(write(tmp_path / "a.json", content))


# CSV


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,n\none,007\ntwo,010\n", ["007", "010"]),  # codes, not numbers
        ("text,n\none,7\ntwo,10\n", [7, 10]),
        ("text,n\none,7\ntwo,1.5\n", [7.0, 1.5]),
        ("text,n\none,7\ntwo,x\n", ["7", "x"]),
        ("text,n\none,\ntwo,-3\n", [None, -3]),
        ("text,n\none,1e3\ntwo,.5\n", [1000.0, 0.5]),
        ("text,n\none,99999999999999999999\ntwo,1\n", [1e20, 1.0]),
        ("text,n\none,1_000\ntwo,٣\n", ["1_000", "٣"]),
        ("text,n\none,nan\ntwo,inf\n", ["nan", "inf"]),
    ],
)
def test_types_of_columns(tmp_path: Path, content: str, expected: list[object]) -> None:
    values = [document.metadata["n"] for document in read_all(write(tmp_path / "a.csv", content))[0]]
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


def test_column_keeps_its_type_to_the_end(tmp_path: Path) -> None:
    count = limits.SAMPLE_RECORDS + 10
    content = "text,n\n" + "".join(f"words {number},{number}\n" for number in range(count)) + "last,unknown\n"
    documents, report = read_all(write(tmp_path / "a.csv", content))
    assert documents[-1].metadata == {"n": None}
    assert {type(document.metadata["n"]) for document in documents[:-1]} == {int}
    assert report.left_out["a.csv"]["values of 'n' unlike the numbers before"].examples == ["unknown"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("two,2,extra,cells", "line 3: the row has 4 cells for 2 columns"),
        ('"two" and,2', "line 3: not CSV"),
    ],
)
def test_malformed_row_is_left_out_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    path = write(tmp_path / "a.csv", f"text,n\none,1\n{row}\nthree,3\n")
    documents, report = read_all(path)
    assert [document.text for document in documents] == ["one", "three"]
    assert report.left_out_counts == {"malformed rows": 1}
    with pytest.raises(FormatError, match=reason):
        read_all(path, on_error="raise")


def test_quote_that_is_never_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,n\none,1\n"two,2\nthree,3\nfour,4\n')
    documents, report = read_all(path)
    assert [document.text for document in documents] == ["one"]
    assert "never closed" in report.left_out["a.csv"]["malformed rows"].examples[0]
    with pytest.raises(FormatError, match=r"line 3: .*never closed, 3 lines are lost"):
        read_all(path, on_error="raise")


def test_short_rows_and_empty_cells_at_the_end(tmp_path: Path) -> None:
    documents, report = read_all(write(tmp_path / "a.csv", "text,n,m\none,1,2,,\ntwo,2\n\n,,\nthree,3,4\n"))
    assert [(document.text, document.metadata) for document in documents] == [
        ("one", {"n": 1, "m": 2}),
        ("two", {"n": 2}),
        ("three", {"n": 3, "m": 4}),
    ]
    assert report.left_out_counts == {"cells missing in short rows": 1}


def test_header(tmp_path: Path) -> None:
    documents, report = read_all(write(tmp_path / "a.csv", "1,a few words here\n2,a few more words\n"))
    assert [document.text for document in documents] == ["a few words here", "a few more words"]
    assert documents[0].metadata == {"column_1": 1}
    assert any("no header row" in line for line in report.lines())
    documents, _ = read_all(write(tmp_path / "b.csv", "country,2010,2011\nthe one,1,2\nthe other,3,4\n"))
    assert documents[0].metadata == {"2010": 1, "2011": 2}
    long = "word " * 60
    documents, _ = read_all(write(tmp_path / "c.csv", f"a,{long}\nb,{long}\n"))
    assert len(documents) == 2
    documents, _ = read_all(write(tmp_path / "d.csv", "x,x,,x_2\na few words,1,2,3\n"))
    assert documents[0].metadata == {"x_3": 1, "column_3": 2, "x_2": 3}
    with pytest.raises(FormatError, match="has no rows"):
        read_all(write(tmp_path / "e.csv", "title,text\n"))


def test_comment_lines_above_a_table(tmp_path: Path) -> None:
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        table = "text,n\none,1\ntwo,2\nthree,3,x\n".replace(",", separator)
        path = write(tmp_path / f"a{suffix}", f"# Where it comes from\n# and, when, it does\n{table}")
        documents, report = read_all(path)
        assert [document.text for document in documents] == ["one", "two"]
        assert report.left_out_counts == {"comment lines": 2, "malformed rows": 1}
        with pytest.raises(FormatError, match="line 6: the row has 3 cells"):
            read_all(path, on_error="raise")
    documents, _ = read_all(write(tmp_path / "b.csv", "#id,text\n7,one\n8,two\n"))
    assert [document.id for document in documents] == ["b.csv#7", "b.csv#8"]


def test_tsv_without_quoting(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"Odd one\n2\tsaid "yes" and left\n3\tthe end"\n'
    documents, report = read_all(write(tmp_path / "a.tsv", content))
    assert [document.text for document in documents] == ['"Odd one', 'said "yes" and left', 'the end"']
    assert not report.left_out


def test_fields_longer_than_the_library_allows_by_default(tmp_path: Path) -> None:
    long = "word " * 100_000
    documents, _ = read_all(write(tmp_path / "a.csv", f'id,text\n1,"{long}"\n2,short\n'))
    assert documents[0].text == long.strip()


# Parquet and Arrow


def test_types_of_arrow(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["one", "two"],
            "stamp": pa.array([1, None], pa.timestamp("ns")),
            "zone": pa.array([0, 3600], pa.timestamp("s", tz="UTC")),
            "day": pa.array([date(2024, 1, 2), None]),
            "far": pa.array([2**60, 0], pa.timestamp("us")),
            "span": pa.array([1500, None], pa.duration("ms")),
            "money": pa.array([Decimal("1.50"), None]),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "tags": pa.array([["x", "y"], None]),
            "point": pa.array([{"x": 1}, None]),
            "vector": pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.float32(), 2)),
            "raw": pa.array([b"\xff", b"x"]),
            "small": pa.array([1, 2], pa.uint8()),
            "huge": pa.array([2**64 - 1, 1], pa.uint64()),
            "nothing": pa.nulls(2),
            "number": pa.array([float("nan"), float("inf")]),
            "large": pa.array(["p", "q"], pa.large_string()),
            "view": pa.array(["p", "q"], pa.string_view()),
        }
    )
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as handle, pa.ipc.new_file(handle, table.schema) as writer:
        writer.write_table(table)
    (first, second), report = read_all(tmp_path / "a.arrow")
    far = first.metadata.pop("far")
    assert isinstance(far, str)
    assert first.metadata == {
        "stamp": "1970-01-01 00:00:00.000000001", "zone": "1970-01-01 00:00:00Z", "day": "2024-01-02", "span": 1.5,
        "money": 1.5, "kind": "a", "tags": '["x", "y"]', "point": '{"x": 1}', "small": 1, "huge": str(2**64 - 1),
        "nothing": None, "number": None, "large": "p", "view": "p",
    }  # fmt: skip
    assert second.metadata["stamp"] is None
    assert second.metadata["number"] is None
    assert report.left_out["a.arrow"]["columns of vectors or bytes"].examples == ["vector", "raw"]


def test_columnar_files_that_are_not_whole(tmp_path: Path) -> None:
    content = as_parquet(ROWS)
    for damaged in (content[:-10], content[: len(content) // 2], b"PAR1" + b"x" * 50 + b"PAR1", b"words"):
        with pytest.raises(FormatError, match="not a whole Parquet file"):
            read_all(write(tmp_path / "a.parquet", damaged))
    content = as_arrow(ROWS)
    for damaged in (
        content[:-10],
        content[: len(content) // 2],
        b"ARROW1" + b"x" * 50,
        b"some words that are not Arrow",
    ):
        with pytest.raises(FormatError, match="not a whole Arrow file"):
            read_all(write(tmp_path / "a.arrow", damaged))


def test_stream_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    table, buffer = pa.table({"text": [f"words {number}" for number in range(2000)]}), io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    path = write(tmp_path / "a.ipc", buffer.getvalue()[:-5000])
    documents, report = read_all(path)
    assert len(documents) == 1500
    assert "behind row 1,500" in report.incomplete[0].reason
    with pytest.raises(FormatError, match="behind row 1,500"):
        read_all(path, on_error="raise")


def test_columnar_file_without_rows_or_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"v": [[1.0], [2.0]]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "c.parquet")
    for name, message in (("a", "no rows"), ("b", "no column that can be read"), ("c", "no field holds text; .*: n;")):
        with pytest.raises(FormatError, match=message):
            read_all(tmp_path / f"{name}.parquet")


def test_columns_with_the_same_name_are_left_out(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], names=["text", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    (document,), report = read_all(tmp_path / "a.parquet")
    assert document.metadata == {}
    assert report.left_out_counts == {"columns with a repeated name": 2}


def test_columnar_file_with_a_name_that_is_not_text(tmp_path: Path) -> None:
    import os

    path = tmp_path / os.fsdecode(b"\xff.parquet")
    path.write_bytes(as_parquet(ROWS))
    assert len(read_all(tmp_path)[0]) == 3


def test_text_column_of_invalid_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"good words", b"\xff\xfe bad"]).view(pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    with pytest.raises(FormatError, match="UTF8"):
        read_all(tmp_path / "a.parquet")


def test_batches_are_small_so_that_long_rows_do_not_add_up(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["words"] * 10_000}), tmp_path / "a.parquet")
    context = ReadContext("warn", None, None, None, None, ReadReport())
    file = SourceFile(tmp_path / "a.parquet", "a.parquet", 1, 0.0, "parquet")
    assert sum(1 for _ in read_columnar(file, context)) == 10_000


# Ids


def test_seen_ids_agrees_with_a_dict() -> None:
    rng = random.Random(0)
    seen, oracle = SeenIds(recent=16), {}
    for row in range(5000):
        name = str(rng.randrange(4000))
        assert seen.add(name, row) == oracle.get(name)
        oracle.setdefault(name, row)
