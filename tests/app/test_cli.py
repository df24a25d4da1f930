"""The command line as a user meets it: exit codes, one-line errors, JSON, what is on stdout and what on stderr."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from polyvec.app.main import main
from polyvec.core.vectors import Vectors


@pytest.fixture
def polyvec(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def process(*arguments, **options):
    command = [sys.executable, "-m", "polyvec.app.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    (folder / "soup.txt").write_text("Boil carrots and onions in a large pot, then add salt and pepper.")
    (folder / "moon.md").write_text("# The moon\n\nAstronauts walked on the lunar surface and collected rocks.")
    rows = [
        {"id": f"r{year}", "text": f"The annual report of the company for {year}", "year": year}
        for year in (2019, 2022)
    ]
    (folder / "reports.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def index(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "index"
    result = process("index", documents, "--to", folder, "--json")
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_index_and_search(index, polyvec):
    folder, report = index
    assert report["documents"] == report["added"] == 4
    code, out, _ = polyvec("search", folder, "space travel", "-k", 2, "--json")
    assert code == 0
    hits = json.loads(out)
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert "moon" in hits[0]["id"]
    code, out, _ = polyvec("search", folder, "cooking vegetables")
    assert code == 0
    assert out.index("soup") < out.index("moon")


def test_filters_modes_and_paging(index, polyvec):
    folder, _ = index
    _, out, _ = polyvec("search", folder, "company", "--where", "year > 2020", "--json")
    assert [hit["id"] for hit in json.loads(out)] == ["reports.jsonl#r2022"]
    for mode in ("keyword", "hybrid", "dense"):
        _, out, _ = polyvec("search", folder, "lunar", "--mode", mode, "--json")
        assert "moon" in json.loads(out)[0]["id"]
    pages = [
        json.loads(polyvec("search", folder, "report", "-k", 2, "--offset", offset, "--json")[1]) for offset in (0, 2)
    ]
    together = json.loads(polyvec("search", folder, "report", "-k", 4, "--json")[1])
    assert [hit["id"] for page in pages for hit in page] == [hit["id"] for hit in together]


def test_similar_and_info(index, polyvec):
    folder, _ = index
    code, out, _ = polyvec("similar", folder, "reports.jsonl#r2019", "-k", 1, "--json")
    assert code == 0
    assert json.loads(out)[0]["id"] == "reports.jsonl#r2022"
    code, out, _ = polyvec("info", folder, "--json")
    assert json.loads(out)["documents"] == 4
    assert "documents" in polyvec("info", folder)[1]


def test_indexing_again_changes_nothing(index, documents):
    folder, _ = index
    report = json.loads(process("index", documents, "--to", folder, "--json").stdout)
    assert (report["unchanged"], report["added"], report["updated"], report["removed"]) == (4, 0, 0, 0)


def test_encode_to_every_format(documents, tmp_path, polyvec):
    matrices = []
    for suffix in (".parquet", ".npy", ".npz", ".safetensors", ".arrow"):
        code, out, err = polyvec("encode", documents, "--to", tmp_path / f"v{suffix}", "--json")
        assert code == 0, err
        assert json.loads(out)["vectors"] == 4
        matrices.append(Vectors.load(tmp_path / f"v{suffix}").matrix)
    assert all(np.array_equal(matrices[0], matrix) for matrix in matrices)


def test_titled_page_says_what_it_left_out(tmp_path, polyvec):
    paragraph = "This paragraph is long enough to be the text of a document of its own, sentence after sentence. " * 5
    pairs = [f"{word} Way to Describe a Vector\n\n{word} {paragraph}" for word in ("One", "Better", "Third", "Last")]
    page = "\n\n".join(["Sign in", pairs[0], "12 May", *pairs[1:]])
    (tmp_path / "page.txt").write_text(page)
    code, out, err = polyvec("index", tmp_path / "page.txt", "--to", tmp_path / "index")
    assert code == 0
    assert "4 documents" in out
    assert "left out" in err
    assert "2 " in err


BAD_COMMANDS = {
    "missing source": ("index", "{tmp}/none.txt", "--to", "{tmp}/i"),
    "empty folder": ("index", "{tmp}/empty", "--to", "{tmp}/i"),
    "empty file": ("index", "{tmp}/empty.txt", "--to", "{tmp}/i"),
    "binary file": ("index", "{tmp}/binary.txt", "--to", "{tmp}/i"),
    "malformed json lines": ("index", "{tmp}/bad.jsonl", "--to", "{tmp}/i", "--strict"),
    "malformed pdf": ("index", "{tmp}/bad.pdf", "--to", "{tmp}/i"),
    "malformed parquet": ("index", "{tmp}/bad.parquet", "--to", "{tmp}/i"),
    "no place to write": ("index", "{tmp}/good.txt", "--to", "/proc/polyvec/i"),
    "target is a file": ("index", "{tmp}/good.txt", "--to", "{tmp}/good.txt"),
    "unknown model": ("index", "{tmp}/good.txt", "--to", "{tmp}/i", "--model", "no/such-model"),
    "unknown data set": ("index", "debian-packagess", "--to", "{tmp}/i"),
    "unknown option": ("index", "{tmp}/good.txt", "--to", "{tmp}/i", "--bogus"),
    "missing option": ("index", "{tmp}/good.txt"),
    "unknown command": ("indx",),
    "no index there": ("search", "{tmp}/none", "query"),
    "not an index": ("search", "{tmp}/empty", "query"),
    "empty query": ("search", "{index}", ""),
    "blank query": ("search", "{index}", "   "),
    "k is zero": ("search", "{index}", "query", "-k", "0"),
    "unknown mode": ("search", "{index}", "query", "--mode", "magic"),
    "filter on unknown column": ("search", "{index}", "query", "--where", "colour = 'red'"),
    "filter that is no filter": ("search", "{index}", "query", "--where", "year >"),
    "filter that wants to write": ("search", "{index}", "query", "--where", "1=1; DROP TABLE documents"),
    "similar to nothing": ("similar", "{index}", "nobody"),
    "index with another encoder": ("index", "{tmp}/good.txt", "--to", "{index}", "--model", "{model}"),
    "unknown suffix": ("encode", "{tmp}/good.txt", "--to", "{tmp}/v.docx"),
    "unknown system": ("systems", "nothing-like-it"),
    "unknown room": ("systems", "--room", "cellar"),
    "reproduce nothing": ("reproduce",),
    "reproduce unknown": ("reproduce", "nothing-like-it"),
    "reproduce planned": ("reproduce", "uniter"),
    "compare with nothing": ("reproduce", "mrl", "--compare", "{tmp}/none.json"),
    "compare with garbage": ("reproduce", "mrl", "--compare", "{tmp}/bad.jsonl"),
    "unknown data": ("data", "path", "nothing"),
    "unknown kind": ("data", "list", "--kind", "smells"),
}


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    from sentence_transformers import SentenceTransformer, models
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "good": 5, "text": 6}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder / "bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder / "bert")
    transformer = models.Transformer(str(folder / "bert"))
    pooling = models.Pooling(32)
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "st"))
    return folder / "st"


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_input_is_one_line_and_exit_code_2(name, index, other_model, tmp_path, polyvec):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "good.txt").write_text("A good text about nothing in particular.")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    before = json.loads(polyvec("info", index[0], "--json")[1])
    values = {"tmp": tmp_path, "index": index[0], "model": other_model}
    code, out, err = polyvec(*(argument.format(**values) for argument in BAD_COMMANDS[name]))
    assert code == 2, (out, err)
    assert out == ""
    lines = [line for line in err.splitlines() if line.strip()]
    assert (
        1 <= len(lines) <= (1 if name not in ("malformed pdf", "malformed parquet", "binary file", "empty file") else 2)
    ), err
    assert "Traceback" not in err
    assert len(lines[-1]) > 20
    assert not (tmp_path / "i").exists()
    assert not (tmp_path / "v.docx").exists()
    after = json.loads(polyvec("info", index[0], "--json")[1])
    assert after["documents"] == before["documents"]


def test_a_query_of_a_megabyte_is_answered(index, polyvec):
    code, out, _ = polyvec("search", index[0], "moon " * 200_000, "--json")
    assert code == 0
    assert json.loads(out)


def test_systems(polyvec):
    code, out, _ = polyvec("systems")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 66  # piped: a heading and a line each
    assert lines[0].split("\t") == ["name", "system", "place", "status", "measured"]
    entries = json.loads(polyvec("systems", "--json")[1])
    verdicts = {entry["slug"]: entry["verdict"] for entry in entries if entry["status"] == "working"}
    assert set(verdicts) >= {"rankme", "fastrp", "mrl"}
    assert all(verdicts.values())
    assert {entry["room"] for entry in json.loads(polyvec("systems", "--room", "assess", "--json")[1])} == {"assess"}
    code, out, _ = polyvec("systems", "fastrp")
    assert "polyvec.encode.graph.FastRP" in out
    assert "measured (small" in out


def test_reproduce_smoke_writes_and_compares(tmp_path, polyvec):
    code, out, _ = polyvec("reproduce", "mrl", "--scale", "smoke", "--to", tmp_path, "--json")
    assert code in (0, 1)
    report = json.loads(out)
    assert report["slug"] == "mrl"
    assert (tmp_path / "mrl/smoke.json").exists()
    assert (tmp_path / "mrl/smoke.png").exists()
    old = tmp_path / "old.json"
    old.write_bytes((tmp_path / "mrl/smoke.json").read_bytes())
    code, out, _ = polyvec("reproduce", "mrl", "--scale", "smoke", "--to", tmp_path, "--compare", old)
    assert "old\tnew" in out


def test_data_commands(polyvec):
    code, out, _ = polyvec("data", "list", "--json")
    assert code == 0
    names = {entry["name"] for entry in json.loads(out)}
    assert {"debian-packages", "systems"} <= names
    code, out, _ = polyvec("data", "list")
    assert len(out.splitlines()) == len(names) + 1


def test_demo(tmp_path, polyvec):
    code, out, err = polyvec("demo", "--to", tmp_path / "demo", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["index"]["documents"] == 65
    first = next(iter(answer["searches"].values()))
    expected = {"optembed", "unified-embedding", "graphhash", "monolith", "vector-compression-benchmark"}
    assert {hit["id"] for hit in first} & expected
    code, out, _ = polyvec("demo", "--to", tmp_path / "demo")
    assert code == 0
    assert "Next" in out


def test_piped_output_has_no_colours(index):
    result = process("search", index[0], "moon", env={**os.environ, "TERM": "xterm-256color"})
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m polyvec.app.main systems | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""


def test_help_and_version_are_quick(polyvec):
    assert polyvec("--version")[1].startswith("polyvec ")
    for arguments in (
        ["--help"],
        ["index", "--help"],
        ["search", "--help"],
        ["data", "--help"],
        ["reproduce", "--help"],
    ):
        code, out, _ = polyvec(*arguments)
        assert code == 0
        assert "Usage" in out
    heavy = "{'torch', 'numpy', 'lancedb', 'pyarrow', 'sklearn'}"
    code = f"import sys, polyvec.app.main; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(tmp_path):
    rows = [{"id": str(row), "text": f"document number {row} about topic {row % 97} " * 20} for row in range(20_000)]
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [
        sys.executable,
        "-m",
        "polyvec.app.main",
        "index",
        str(tmp_path / "many.jsonl"),
        "--to",
        str(tmp_path / "i"),
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    documents = 0
    while time.monotonic() < deadline and documents == 0:
        time.sleep(1)
        found = process("info", tmp_path / "i", "--json")
        documents = json.loads(found.stdout)["documents"] if found.returncode == 0 else 0
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    assert "interrupted" in err
    assert "Traceback" not in err
    kept = json.loads(process("info", tmp_path / "i", "--json").stdout)["documents"]
    assert 0 < kept < len(rows)
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, rows[:kept])))
    report = json.loads(process("index", tmp_path / "many.jsonl", "--to", tmp_path / "i", "--json").stdout)
    assert report["unchanged"] == kept
    assert report["added"] == 0


def test_shell_completion_is_offered(polyvec):
    assert "install-completion" in polyvec("--help")[1]
