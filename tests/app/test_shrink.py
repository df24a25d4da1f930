"""`polyvec shrink`, as a user calls it."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "search"))

from store_testing import make_documents

from polyvec.app.main import main
from polyvec.search import PriceList, Store

COUNT, DIM = 320, 32


def vectors(count=COUNT, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, DIM)) * np.geomspace(2, 0.1, DIM)).astype(np.float32)


def call(*arguments):
    """Exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, out.getvalue(), err.getvalue()


@pytest.fixture
def index(tmp_path):
    store = Store.create(tmp_path / "index", dim=DIM)
    store.add(make_documents(COUNT), vectors())
    return tmp_path / "index"


def test_list_choice_picture_and_kept_file(index, tmp_path):
    code, out, err = call("shrink", index, "--keep", "0.5", "--png", tmp_path / "prices.png")
    assert code == 0
    assert out.splitlines()[0].startswith("bytes kept\tscanned\trecall@10")
    assert "take " in out
    assert "queries that had no part in choosing it" in out
    assert "32 queries: recall@10 is known to about" in err
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")
    kept = PriceList.load(index / ".polyvec" / "prices.json")
    assert kept.chosen is not None
    assert kept.store_version == Store.open(index).snapshot().version
    assert Store.open(index).compression is None  # nothing is changed without --apply


def test_apply_undo_finish(index):
    before = Store.open(index).vectors()
    code, out, _ = call("shrink", index, "--budget", "40B", "--apply", "--json")
    assert code == 0
    told = json.loads(out)
    assert Store.open(index).nbytes == COUNT * told["chosen"]["kept_bytes"] <= COUNT * 40
    code, out, _ = call("info", index, "--json")
    assert json.loads(out)["compression"]["code"]["bytes"] == told["chosen"]["bytes"]
    code, _, err = call("shrink", index)
    assert code == 2
    assert "is shrunk already" in err
    code, out, _ = call("shrink", index, "--undo")
    assert (code, out) == (0, f"{COUNT} full vectors are back\n")
    assert Store.open(index).vectors() == before
    assert call("shrink", index, "--budget", "40B", "--apply", "--quiet")[0] == 0
    code, out, _ = call("shrink", index, "--finish", "--json")
    assert code == 0
    assert set(json.loads(out)) == {"bytes_on_disk_before", "bytes_on_disk"}
    code, _, err = call("shrink", index, "--undo")
    assert code == 2
    assert "given up by --finish" in err
    assert call("inspect", index, "--quiet")[0] == 0


def test_a_file_of_vectors_with_queries(tmp_path):
    np.save(tmp_path / "base.npy", vectors())
    np.save(tmp_path / "queries.npy", vectors(40, 5))
    code, out, _ = call("shrink", tmp_path / "base.npy", "--queries", tmp_path / "queries.npy", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["documents"], told["queries"], told["held_out"]) == (COUNT, 20, False)
    code, out, _ = call("shrink", tmp_path / "base.npy", "--all", "--keep", "0.5")
    assert len(out.splitlines()) > len(told["rows"]) / 2


def test_bad_input_is_one_line(index, tmp_path):
    np.save(tmp_path / "base.npy", vectors())
    np.save(tmp_path / "one.npy", vectors(1))
    np.save(tmp_path / "narrow.npy", vectors(40)[:, :5])
    broken = vectors()
    broken[3, 3] = np.nan
    np.save(tmp_path / "broken.npy", broken)
    (tmp_path / "one.txt").write_text("only one\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfd")
    before = Store.open(index).snapshot().version
    for arguments, message in (
        (["missing"], "cannot read missing: no such file or folder"),
        ([index, "--keep", "2"], "keep: got 2, needs a share"),
        ([index, "--budget", "many"], "budget: got 'many', needs bytes a document"),
        ([index, "--budget", "1B"], "but the smallest setting takes 4; give at least 4B"),
        ([index, "--undo", "--apply"], "got more than one"),
        ([index, "--undo"], "is not compressed"),
        ([index, "--finish"], "is not compressed"),
        ([index, "--png", tmp_path], "this is a folder; name a file in it"),
        ([index, "--queries", tmp_path / "missing.txt"], "missing.txt: no such file"),
        ([index, "--queries", tmp_path / "one.txt"], "got 1 queries, needs at least 2"),
        ([index, "--queries", tmp_path / "bytes.txt"], "is no UTF-8 text"),
        ([index, "--queries", tmp_path / "narrow.npy"], "queries: got 5 dimensions, needs 32"),
        ([tmp_path / "base.npy", "--apply"], "need an index"),
        ([tmp_path / "one.npy"], "got 1, needs at least 20 documents"),
        ([tmp_path / "broken.npy"], "row 3 holds NaN"),
        ([index, "--keep", "0.9999", "--apply"], "nothing was changed, as no setting was confirmed"),
    ):
        code, _, err = call("shrink", *arguments, "--quiet")
        assert code == 2, arguments
        assert message in err
        assert len(err.splitlines()) == 1, err
    assert Store.open(index).snapshot().version == before


def test_a_folder_that_cannot_be_written(index, monkeypatch):
    from polyvec.core.errors import FileProblemError

    def refuse(self, path):
        raise FileProblemError(f"cannot write {path}: the file system is read-only")

    monkeypatch.setattr(PriceList, "save", refuse)
    code, out, err = call("shrink", index, "--keep", "0.5")
    assert code == 0
    assert "take " in out
    assert "the list was not kept: cannot write" in err
