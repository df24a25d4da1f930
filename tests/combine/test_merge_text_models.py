"""Merging folders of sentence-transformers models: the result is one that the plain library loads."""

import json

import numpy as np
import pytest
import torch
from merge_testing import perturbed_copy, tiny_text_model

from polyvec.app import main as command_line
from polyvec.combine import TaskVector, merge_files
from polyvec.combine.merging.text_models import embedder, file_names, learned_method, load_text_model, read_pairs
from polyvec.combine.task_vectors import open_checkpoint
from polyvec.core.errors import FileProblemError, FormatError, InvalidValueError
from polyvec.encode.text.bundled import bundled_folder

TEXTS = ["a graph of packages", "search by meaning", "an embedding of a table"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    base = tiny_text_model(place / "base")
    return base, [perturbed_copy(base, place / name, seed) for seed, name in enumerate(("one", "two"), 1)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs")
    words = [
        "graph",
        "neural",
        "table",
        "click",
        "memory",
        "speech",
        "image",
        "search",
        "vector",
        "walk",
        "loss",
        "code",
    ]
    for name, other in (("first", "about {}"), ("second", "the {} of it")):
        rows = [f"{word},{other.format(word)}" for word in words]
        (place / f"{name}.csv").write_text("\n".join(["anchor,positive", *rows]) + "\n")
    return [place / "first.csv", place / "second.csv"]


def weights_of(folder):
    files = open_checkpoint(folder)
    return {name: files.read(name) for name in files.weights}


def test_minilm_merged_with_itself_is_itself(tmp_path):
    from sentence_transformers import SentenceTransformer

    base = bundled_folder()
    tuned = perturbed_copy(base, tmp_path / "tuned", 1, size=0.05)
    report = merge_files(base, [tuned, tuned], tmp_path / "merged")
    assert report.cosines[0][1] == pytest.approx(1.0, abs=1e-6)
    assert report.kept == 1  # position ids
    found, wanted = weights_of(tmp_path / "merged"), weights_of(tuned)
    assert max((found[name] - value).abs().max().item() for name, value in wanted.items()) < 1e-6
    for file in base.rglob("*"):
        below = file.relative_to(base)
        if file.is_file() and not below.name.startswith(".") and file.suffix != ".safetensors":
            assert (tmp_path / "merged" / below).read_bytes() == file.read_bytes(), below
    vectors = [
        SentenceTransformer(str(folder), device="cpu").encode(TEXTS) for folder in (tmp_path / "merged", tuned, base)
    ]
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-2)


def test_every_parameter_is_found_in_the_files(tiny):
    base, _ = tiny
    model, files = load_text_model(base), open_checkpoint(base)
    names = file_names(model, files)
    assert set(names) == {name for name, _ in model.named_parameters()}
    assert len(set(names.values())) == len(names) == len(files.weights)
    assert names["2.linear.weight"] == "2_Dense/linear.weight"
    for name, value in model.named_parameters():
        assert torch.equal(files.read(names[name]), value)


def test_the_embedder_runs_the_given_weights(tiny):
    base, (one, _) = tiny
    start, other = load_text_model(base), load_text_model(one)
    start.eval()
    other.eval()
    embed = embedder(start)
    with torch.no_grad():
        assert np.allclose(embed(start, TEXTS).numpy(), start.encode(TEXTS), atol=1e-6)
        assert np.allclose(embed(other, TEXTS).numpy(), other.encode(TEXTS), atol=1e-6)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["merge", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_self_positioning_from_the_command_line(tiny, pairs, tmp_path, capsys):
    base, models = tiny
    code, text, _ = run(
        capsys, base, *models, "--to", tmp_path / "out", "--method", "self-positioning", "--probe", pairs[0],
        "--probe", pairs[1], "--steps", 6, "--lr", 0.1, "--batch-size", 6, "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(text)
    options = report["options"]
    assert options["scale"] != 1.0
    assert options["weights"][0] != options["weights"][1]
    vectors = [TaskVector.from_checkpoints(base, model) for model in models]
    first, second = (options["scale"] * coefficient for coefficient in options["coefficients"])
    expected = first * vectors[0] + second * vectors[1]
    start, found = weights_of(base), weights_of(tmp_path / "out")
    for name, value in found.items():
        assert torch.allclose(value, start[name] + expected.read(name), atol=1e-6)
    vectors_of_it = load_text_model(tmp_path / "out").encode(TEXTS)
    assert vectors_of_it.shape == (3, 12)
    assert not np.allclose(vectors_of_it, load_text_model(base).encode(TEXTS), atol=1e-3)
    assert json.loads((tmp_path / "out" / "polyvec_merge.json").read_text())["options"] == options


@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_fisher_and_regmean_from_the_command_line(tiny, pairs, tmp_path, capsys, method):
    base, models = tiny
    both = ["--probe", pairs[0], "--probe", pairs[1]]
    code, text, error = run(capsys, base, *models, "--to", tmp_path / "out", "--method", method, *both, "--steps", 2)
    assert (code, error) == (0, "")
    assert text.splitlines()[-1].startswith(f"{method}: ")
    found, one, two = (weights_of(folder) for folder in (tmp_path / "out", *models))
    merge_files(base, models, tmp_path / "mean")
    mean = weights_of(tmp_path / "mean")
    changed = [name for name, value in found.items() if not torch.allclose(value, mean[name], atol=1e-5)]
    assert any("attention" in name for name in changed)
    assert "2_Dense/linear.weight" in changed
    assert load_text_model(tmp_path / "out").encode(TEXTS).shape == (3, 12)
    if method == "fisher":  # every number lies between those of the two models
        for name, value in found.items():
            low, high = torch.minimum(one[name], two[name]), torch.maximum(one[name], two[name])
            assert bool(((value >= low - 1e-6) & (value <= high + 1e-6)).all())
    code, _, error = run(capsys, base, *models, "--to", tmp_path / "o", "--method", method, "--probe", pairs[0])
    assert code == 2
    assert "got 1 files of pairs for 2 models" in error


def test_same_seed_same_numbers(tiny, pairs):
    base, models = tiny
    probes = {str(path): read_pairs(path) for path in pairs}
    first, second = (
        learned_method("self-positioning", base, models, probes, steps=3, batch_size=4, seed=3) for _ in range(2)
    )
    assert first.coefficients == second.coefficients


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "query,document,id\nq1,d1,1\nq2,d2,2\n,d3,3\nq4,q4,4\n", None),
        ("a.tsv", "sentence1\tsentence2\nq1\td1\nq2\td2\n", None),
        ("a.jsonl", '{"left": "q1", "right": "d1"}\n{"left": "q2", "right": "d2"}\n', ("left", "right")),
        ("a.csv", "title,description\nq1,d1\nq2,d2\n", None),
    ],
)
def test_pairs_are_read_from_tables(tmp_path, name, content, columns):
    (tmp_path / name).write_text(content)
    assert read_pairs(tmp_path / name, columns) == (["q1", "q2"], ["d1", "d2"])


def test_bad_pairs(tmp_path):
    with pytest.raises(FileProblemError):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("anchor,positive\na,b\nc,c\n")
    with pytest.raises(InvalidValueError, match="holds 1 usable pairs"):
        read_pairs(tmp_path / "a.csv")
    with pytest.raises(FormatError, match="the fields are: anchor, positive"):
        read_pairs(tmp_path / "a.csv", ("query", "positive"))
