"""Merging model folders: peak memory, time and sameness of the result, against mergekit and a plain script, in one run.

    python benchmarks/merge.py [--layers 6] [--mergekit PYTHON] [--to results/benchmarks/merge.json]

A base and two models of XLM-RoBERTa's architecture are written with random weights in 32 bits (mergekit 0.1.5 fails on
plain BERT and RoBERTa encoders). Each program merges the two by averaging and by TIES in a process of its own; peak
memory is what the system counted for that process, less that of the same process after its imports. The plain script
does what one writes in a minute: load all models, merge tensor by tensor, save. mergekit runs with the Python that has
it (`--mergekit`, this one by default), and is left out, with a remark, where there is none. Every program runs once to
warm up the disk's cache; times are the best of `--repeats`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DENSITY = 0.2


def write_models(folder: Path, layers: int, width: int) -> list[Path]:
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=30_522,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    model = XLMRobertaModel(config)
    places = []
    for name in ("base", "one", "two"):
        model.save_pretrained(folder / name)
        places.append(folder / name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.002)
    return places


def polyvec_merge(places: list[str], to: str, method: str) -> None:
    from polyvec.combine import merge_files

    options = {"density": DENSITY, "trim": "tensor"} if method == "ties" else {}
    merge_files(places[0], places[1:], to, method, overwrite=True, show_progress=False, **options)


def plain_merge(places: list[str], to: str, method: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base, *models = (load_file(f"{place}/model.safetensors") for place in places)
    merged = {}
    for name, start in base.items():
        deltas = torch.stack([model[name] - start for model in models])
        if method == "ties":
            keep = max(1, round(DENSITY * start.numel()))
            smallest = deltas.flatten(1).abs().topk(keep).values[:, -1]
            deltas *= deltas.abs() >= smallest.view(-1, *[1] * start.ndim)
            sign = torch.where(deltas.sum(0) >= 0, 1.0, -1.0)
            agree = deltas * sign > 0
            merged[name] = start + (deltas * agree).sum(0) / agree.sum(0).clamp(min=1)
        else:
            merged[name] = start + deltas.mean(0)
    Path(to).mkdir()
    save_file(merged, f"{to}/model.safetensors")
    shutil.copy(f"{places[0]}/config.json", to)


def mergekit_merge(places: list[str], to: str, method: str) -> None:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    parameters = {"weight": 1.0, **({"density": DENSITY} if method == "ties" else {})}
    content = {
        "merge_method": "ties" if method == "ties" else "linear",
        "models": [{"model": place, "parameters": parameters} for place in places[1:]],
        "parameters": {"normalize": True},
        "dtype": "float32",
    }
    if method == "ties":
        content["base_model"] = places[0]
    options = MergeOptions(copy_tokenizer=False, lazy_unpickle=True, low_cpu_memory=True, quiet=True)
    run_merge(MergeConfiguration.model_validate(content), to, options=options)


PROGRAMS = {"polyvec": polyvec_merge, "plain script": plain_merge, "mergekit": mergekit_merge}
IMPORTS = {
    "polyvec": "polyvec.combine.merging.on_disk",
    "plain script": "safetensors.torch",
    "mergekit": "mergekit.merge",
}


def child(program: str, method: str, to: str, places: list[str]) -> None:
    import importlib

    import torch

    torch.set_num_threads(1)
    importlib.import_module(IMPORTS[program])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, processor = time.perf_counter(), time.process_time()
    PROGRAMS[program](places, to, method)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "processor_seconds": time.process_time() - processor,
                "peak_megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
            }
        )
    )


def run_child(python: str, program: str, method: str, to: Path, places: list[Path]) -> dict[str, float]:
    shutil.rmtree(to, ignore_errors=True)
    command = [python, __file__, "--child", program, method, str(to), *map(str, places)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.strip().splitlines()[-1])


def largest_difference(first: Path, second: Path) -> float:
    from polyvec.combine.task_vectors import open_checkpoint

    one, two = open_checkpoint(first), open_checkpoint(second)
    return max(float((one.read(name) - two.read(name)).abs().max()) for name in one.weights)


def has_mergekit(python: str) -> str | None:
    command = [python, "-c", "from importlib.metadata import version; print(version('mergekit'))"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mergekit", default=sys.executable, help="Python that has mergekit")
    parser.add_argument("--to", default="results/benchmarks/merge.json")
    options = parser.parse_args()

    from polyvec.core.files import write_json
    from polyvec.reproduce.runner import environment, machine

    version = has_mergekit(options.mergekit)
    programs = [name for name in PROGRAMS if name != "mergekit" or version]
    if not version:
        print("mergekit is not installed: left out (pip install mergekit, or --mergekit PYTHON)")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        places = write_models(folder, options.layers, options.width)
        size = (places[0] / "model.safetensors").stat().st_size
        for method in ("average", "ties"):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
            for _ in range(options.repeats + 1):  # interleaved, the first round warms up
                for name in programs:
                    python = options.mergekit if name == "mergekit" else sys.executable
                    found[name].append(run_child(python, name, method, folder / name.replace(" ", "-"), places))
            for name in programs:
                runs = found[name][1:]
                row = {
                    "method": method,
                    "program": name,
                    **{key: round(min(run[key] for run in runs), 2) for key in ("seconds", "processor_seconds")},
                    "peak_megabytes": round(max(run["peak_megabytes"] for run in runs)),
                    "largest_difference_from_polyvec": largest_difference(
                        folder / "polyvec", folder / name.replace(" ", "-")
                    ),
                }
                rows.append(row)
                print(
                    f"{method:8s} {name:13s} {row['seconds']:7.2f} s, {row['processor_seconds']:7.2f} s of processor, "
                    f"peak {row['peak_megabytes']:6d} MB, "
                    f"largest difference {row['largest_difference_from_polyvec']:.1e}"
                )
    write_json(
        options.to,
        {
            "benchmark": "merging two model folders",
            "model_megabytes": round(size / 2**20),
            "models": 3,
            "repeats": options.repeats,
            "threads": 1,
            "density": DENSITY,
            "mergekit": version,
            "results": rows,
            "versions": environment(),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        main()
