"""`polyvec inspect` as a user meets it."""

import json

import numpy as np
import pytest

from polyvec.app import inspect_commands
from polyvec.app import main as command_line
from polyvec.core.vectors import Vectors
from polyvec.data.documents import Document
from polyvec.search import Store

KEYS = [
    "invalid_rows", "zero_vectors", "effective_rank", "rank_growth", "leading_direction", "mean_cosine",
    "dominant_dimension", "hubness", "orphans", "norm_spread", "dead_dimensions", "duplicate_dimensions",
    "exact_copies", "near_duplicates", "norm_outliers", "lonely_rows",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def registered():
    names = {command.callback.__name__ for command in command_line.app.registered_commands}
    if "inspect" not in names:
        inspect_commands.register(command_line.app)


@pytest.fixture
def inspect(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["inspect", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def damaged():
    data = np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)
    data[3] = np.nan
    data[11] = data[10]
    return data


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "damaged.npy"
    np.save(path, damaged())
    return path


def test_piped_one_line_a_finding(file, inspect):
    code, out, err = inspect(file)
    assert code == 0  # a report of bad vectors is no error
    assert err.splitlines() == [
        "1 row with NaN or infinity (0.25%) left out of every other check.",
        "1 exact copy left out of the comparison of neighbours.",
    ]
    assert inspect(file, "--quiet") == (0, out, "")
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header == ["key", "finding", "status", "value", "shown", "threshold", "source", "meaning", "advice"]
    assert [line[0] for line in lines] == KEYS
    assert {len(line) for line in lines} == {9}
    assert lines[0][2:5] == ["bad", "1", "1 row (0.25%)"]


def test_on_a_terminal_a_table_and_what_to_do(file, inspect, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = inspect(file)
    assert code == 0
    assert "damaged.npy: 400 vectors of 12 dimensions: 1 bad" in out
    assert "1 row with NaN or infinity (0.25%) left out of every other check." in out
    assert "What to do: Find out where they arise" in out
    assert "For example: 3 (first of them)" in out


def test_json(file, inspect):
    code, out, err = inspect(file, "--json", "--sample", 150, "--seed", 3)
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert (content["name"], content["rows"], content["dim"], content["sample"], content["seed"]) == (
        "damaged.npy", 400, 12, 150, 3,
    )  # fmt: skip
    assert [finding["key"] for finding in content["findings"]] == KEYS
    again = json.loads(inspect(file, "--json", "--sample", 150, "--seed", 3)[1])
    assert again == content


def test_page_and_picture(file, inspect, tmp_path):
    page, picture = tmp_path / "new" / "report.html", tmp_path / "report.png"
    code, out, err = inspect(file, "--html", page, "--png", picture, "--json")
    assert code == 0
    json.loads(out)
    assert err.splitlines() == [f"written to {page}", f"written to {picture}"]
    assert page.read_text().startswith("<!doctype html>")
    assert "Vector health: damaged.npy" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, err = inspect(file, "--html", page, "--quiet")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npz", ".safetensors", ".vec", ".bin"])
def test_every_format_of_vectors(suffix, file, inspect, tmp_path):
    data = damaged()
    if suffix in (".vec", ".bin"):
        data[3] = 0
    path = tmp_path / f"vectors{suffix}"
    Vectors(data, ids=[f"doc{number}" for number in range(400)]).save(path)
    findings = {finding["key"]: finding for finding in json.loads(inspect(path, "--json")[1])["findings"]}
    assert findings["exact_copies"]["examples"][0]["ids"] == ["doc10", "doc11"]
    assert findings["invalid_rows" if suffix not in (".vec", ".bin") else "zero_vectors"]["status"] != "ok"


def test_an_index_with_its_texts(inspect, tmp_path):
    folder = tmp_path / "index"
    data = np.random.default_rng(1).normal(size=(150, 8))
    data[41] = data[40]
    store = Store.create(folder, dim=8)
    store.add([Document(f"d{number}", f"about <b>{number}</b>") for number in range(150)], data)
    page = tmp_path / "report.html"
    code, out, _ = inspect(folder, "--json", "--html", page)
    assert code == 0
    content = json.loads(out)
    assert (content["name"], content["rows"], content["dim"]) == ("index", 150, 8)
    copies = next(finding for finding in content["findings"] if finding["key"] == "exact_copies")
    assert copies["examples"] == [
        {
            "ids": ["d40", "d41"],
            "note": "2 equal rows; different texts",
            "texts": ["about <b>40</b>", "about <b>41</b>"],
        }
    ]
    assert "about &lt;b&gt;40&lt;/b&gt;" in page.read_text()
    assert len(Store.open(folder, read_only=True)) == 150


def test_bad_input_ends_with_code_2_and_one_line(file, inspect, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.npy").write_bytes(file.read_bytes()[:900])
    np.save(tmp_path / "none.npy", np.zeros((0, 5), dtype=np.float32))
    np.save(tmp_path / "flat.npy", np.zeros(5, dtype=np.float32))
    cases = [
        ([tmp_path / "missing.npy"], "no such file or folder"),
        ([tmp_path / "missing"], "no such file or folder"),
        ([tmp_path / "empty"], "is an empty folder"),
        ([tmp_path / "notes.txt"], "no known format of vectors"),
        ([tmp_path / "broken.npy"], "damaged or not a npy file"),
        ([tmp_path / "none.npy"], "at least one of each"),
        ([tmp_path / "flat.npy"], "needs two dimensions"),
        ([file, "--sample", "5"], "--sample"),
        ([file, "--seed", "-1"], "--seed"),
        ([file, "--html", tmp_path], "this is a folder"),
        ([file, "--png", file], "is the file of vectors itself"),
        ([], "Missing argument"),
    ]
    before = file.read_bytes()
    for arguments, message in cases:
        code, out, err = inspect(*arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err, arguments
        assert len(err.splitlines()) == 1, arguments
    assert file.read_bytes() == before
