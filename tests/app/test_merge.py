"""`polyvec merge` as a user meets it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polyvec.app import main as command_line
from polyvec.combine import TaskVector, merge


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["merge", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def files(tmp_path):
    generator = torch.Generator().manual_seed(0)
    start = {"a.weight": torch.randn(6, 4, generator=generator), "b.bias": torch.randn(4, generator=generator)}
    changed = [
        {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in start.items()}
        for _ in range(2)
    ]
    states = [start, *changed]
    paths = [tmp_path / f"{name}.safetensors" for name in ("base", "one", "two")]
    for path, state in zip(paths, states, strict=True):
        save_file(state, path)
    return paths, states


def test_files_of_weights(files, run, tmp_path):
    paths, states = files
    out = tmp_path / "out.safetensors"
    code, text, error = run(*paths, "--to", out, "--method", "task-arithmetic", "--weights", "1,-0.5", "--scale", 0.2)
    assert (code, error) == (0, "")
    expected = merge(states[0], states[1:], "task-arithmetic", weights=[1.0, -0.5], scale=0.2)
    for name, value in load_file(out).items():
        assert torch.equal(value, expected[name])
    header, *rows, last = text.splitlines()
    assert header.split("\t") == ["model", "weight", "distance from base"]
    norms = [f"{TaskVector.from_checkpoints(states[0], state).norm():.4g}" for state in states[1:]]
    assert [row.split("\t") for row in rows] == [[str(paths[1]), "1", norms[0]], [str(paths[2]), "-0.5", norms[1]]]
    assert last.startswith("task-arithmetic: 2 weights (28 numbers) of 2 models merged into ")


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("average", {}),
        ("slerp", {"weights": [1.0, 3.0]}),
        ("ties", {"density": 0.4, "scale": 0.5}),
        ("dare", {"drop": 0.3, "seed": 4}),
    ],
)
def test_methods_and_json(files, run, tmp_path, method, options):
    paths, states = files
    arguments = []
    for name, value in options.items():
        arguments += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else value]
    code, text, _ = run(*paths, "--to", tmp_path / "o.safetensors", "--method", method, "--json", *arguments)
    assert code == 0
    report = json.loads(text)
    assert report["method"] == method
    assert {name: report["options"][name] for name in options} == options
    expected = merge(states[0], states[1:], method, **options)
    for name, value in load_file(tmp_path / "o.safetensors").items():
        assert torch.equal(value, expected[name])


def test_bad_input_is_one_line_and_writes_nothing(files, run, tmp_path):
    (base, one, two), states = files
    save_file({"a.weight": torch.ones(6, 4)}, tmp_path / "other.safetensors")
    (tmp_path / "pairs.csv").write_text("anchor,positive\na cat,a kitten\na dog,a puppy\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    out = tmp_path / "out.safetensors"
    for arguments, message in (
        ([base, one, tmp_path / "other.safetensors"], "lacks b.bias"),
        ([base, one, tmp_path / "none"], "no such file"),
        ([base, one, base], "is the same as its base"),
        ([base, one, two, "--weights", "1,x"], "--weights: got '1,x'"),
        ([base, one, two, "--weights", "1"], "weights: got 1, needs 2"),
        ([base, one, two, "--density", "0.5"], "--density: --method average has no use for it; it is for ties"),
        ([base, one, two, "--method", "ties", "--density", "0"], "density: got 0.0"),
        ([base, one, two, "--method", "best"], "'best' is not one of"),
        ([base, one, two, "--method", "fisher"], "--method fisher: needs --probe, one for each model"),
        ([base, one, "--method", "self-positioning", "--probe", tmp_path / "pairs.csv"], "is no folder"),
        ([base, one, "--method", "regmean", "--probe", "p", "--columns", "a"], "--columns: got 'a', needs two names"),
        ([base], "Missing argument 'MODEL"),
    ):
        code, text, error = run(*arguments, "--to", out)
        assert code == 2, arguments
        assert text == ""
        assert message in error
        assert len(error.splitlines()) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    out.write_text("precious")
    code, _, error = run(base, one, "--to", out)
    assert (code, out.read_text()) == (2, "precious")
    assert "--overwrite" in error
    assert run(base, one, "--to", out, "--overwrite", "--quiet") == (0, "", "")
    assert np.allclose(load_file(out)["b.bias"], states[1]["b.bias"], atol=1e-6)
