"""Text encoding against sentence-transformers and ONNX Runtime, on the same texts and cores, interleaved in one run.

The texts are package descriptions of the Debian archive and 65 long ones of about 220 words. Every method encodes all
of them once a round, round by round, and a ratio compares the medians. Peak memory and start-up are measured in
processes of their own, from a cache of checksums that earlier runs have filled.

    python benchmarks/encode_text.py                    # 4,000 descriptions, 3 rounds
    python benchmarks/encode_text.py --all              # all of them, once
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from polyvec.core.files import write_json
from polyvec.core.randomness import numpy_generator
from polyvec.reproduce.runner import environment, machine

METHODS = {
    "sentence-transformers": "SentenceTransformer(model).encode(texts), its defaults: float32, batches of 32",
    "polyvec": "TextEncoder().encode(texts), its defaults",
    "polyvec-exact": "TextEncoder(precision='exact').encode(texts)",
    "polyvec-int8": "TextEncoder(precision='int8').encode(texts)",
    "onnxruntime": "the model exported by torch.onnx, float32, padded batches of 32 in the order of the texts",
    "onnxruntime-sorted": "the same, texts sorted by their number of tokens",
    "sentence-transformers-bfloat16": "SentenceTransformer with weights in bfloat16, batches of 32",
}
PEER = "sentence-transformers"
DEFAULT = [name for name in METHODS if name not in ("onnxruntime-sorted", "sentence-transformers-bfloat16")]
CRITERIA = {
    "polyvec": {"ratio": 2.5, "mean cosine": 0.995, "least cosine": 0.98},
    "polyvec-exact": {"least cosine": 0.9999},
    "polyvec-int8": {"mean cosine": 0.995, "least cosine": 0.98},
}
"""What has to hold, fixed before the first run: at least these values, against sentence-transformers' defaults."""

LONG_WORDS = 220
Encode = Callable[[list[str]], np.ndarray]


def sample(count: int | None, seed: int = 0) -> list[str]:
    """`count` package descriptions (all, for `None`) and the 65 long texts."""
    from polyvec.data.catalogue import load

    texts = [document.text for document in load("debian-packages", view="texts")]
    if count is not None and count < len(texts):
        chosen = numpy_generator(seed).choice(len(texts), count, replace=False)
        texts = [texts[index] for index in chosen]
    for document in load("systems"):
        words = document.text.split()
        texts.append(" ".join((words * (LONG_WORDS // len(words) + 1))[:LONG_WORDS]))
    return texts


def sentence_transformers_method(bfloat16: bool) -> Encode:
    """The peer."""
    import torch
    from sentence_transformers import SentenceTransformer

    from polyvec.encode.text.bundled import bundled_folder

    settings = {"dtype": torch.bfloat16} if bfloat16 else {}
    model = SentenceTransformer(str(bundled_folder()), device="cpu", model_kwargs=settings)
    return lambda texts: np.asarray(model.encode(texts), np.float32)


def polyvec_method(precision: str) -> Encode:
    """What is measured."""
    from polyvec.encode import TextEncoder

    return TextEncoder(precision=precision).encode


def export(path: Path) -> None:
    """Write the model as ONNX, as a user would."""
    import torch
    from transformers import AutoModel

    from polyvec.encode.text.bundled import bundled_folder

    class LastHiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(str(bundled_folder())).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.long)
    names = ["input_ids", "attention_mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            LastHiddenState(),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=names,
            output_names=["hidden"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
            opset_version=17,
            dynamo=False,
        )


def onnxruntime_method(sort: bool) -> Encode:
    """The other peer: what one writes with the two libraries at hand."""
    import onnxruntime
    from tokenizers import Tokenizer

    from polyvec.encode.text.bundled import bundled_folder

    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder, "model.onnx"))
        session = onnxruntime.InferenceSession(str(Path(folder, "model.onnx")), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def encode(texts: list[str]) -> np.ndarray:
        order = np.arange(len(texts))
        if sort:
            tokenizer.no_padding()
            order = np.argsort([-len(encoding.ids) for encoding in tokenizer.encode_batch(texts)], kind="stable")
            tokenizer.enable_padding()
        vectors = np.zeros((len(texts), 384), np.float32)
        for begin in range(0, len(texts), 32):
            chosen = order[begin : begin + 32]
            encodings = tokenizer.encode_batch([texts[index] for index in chosen])
            ids = np.array([encoding.ids for encoding in encodings], np.int64)
            mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
            (hidden,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
            weights = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            vectors[chosen] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return encode


def method(name: str) -> Encode:
    """The encoder of a method, loaded."""
    if name.startswith("sentence-transformers"):
        return sentence_transformers_method(name.endswith("bfloat16"))
    if name.startswith("onnxruntime"):
        return onnxruntime_method(name.endswith("sorted"))
    return polyvec_method({"polyvec": "auto"}.get(name, name.removeprefix("polyvec-")))


def peak_mebibytes() -> int:
    """Most memory this process has held; what `getrusage` says includes the parent's, from before the program began."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)
    except (OSError, StopIteration):
        units = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units)


def alone(name: str, texts: Path) -> None:
    """In a process of its own: start-up, a query, and peak memory over some texts; printed as JSON."""
    begin = time.perf_counter()
    encode = method(name)
    encode(["a query of a few words"])
    start = time.perf_counter() - begin
    queries = []
    for number in range(60):
        begin = time.perf_counter()
        encode([f"how to search {number} documents by meaning"])
        queries.append(time.perf_counter() - begin)
    encode(json.loads(texts.read_text(encoding="utf-8")))
    result = {"start_seconds": round(start, 3), "query_milliseconds": round(statistics.median(queries) * 1e3, 2)}
    print(json.dumps({**result, "peak_mebibytes": peak_mebibytes()}))


def measured_alone(name: str, texts: list[str]) -> dict[str, float]:
    """What `alone` printed; files are in memory and checksums in the cache, from the parent's own start."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts.json")
        file.write_text(json.dumps(texts), encoding="utf-8")
        command = [sys.executable, __file__, "--alone", name, "--alone-texts", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def quality(vectors: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Cosines to the peer's vectors."""
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (vectors.astype(np.float64) * wanted).sum(axis=1) / norms
    return {"mean cosine": round(float(cosines.mean()), 7), "least cosine": round(float(cosines.min()), 7)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4000, help="package descriptions to sample")
    parser.add_argument("--all", action="store_true", help="all package descriptions, one round")
    parser.add_argument("--rounds", type=int, help="times each method encodes the texts (3; with --all, 1)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULT)
    parser.add_argument("--to", type=Path, default=Path("results/benchmarks/encode_text.json"))
    parser.add_argument("--alone", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--alone-texts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone, options.alone_texts)
        return 0
    names = [PEER, *(name for name in options.methods if name != PEER)]
    texts = sample(None if options.all else options.texts)
    rounds = options.rounds or (1 if options.all else 3)
    from polyvec.data.catalogue import version_used
    from polyvec.encode import TextEncoder

    tokens = TextEncoder()._runtime.tokenizer(texts).lengths
    print(f"{len(texts)} texts, {tokens.mean():.0f} tokens each, {rounds} rounds", file=sys.stderr)

    load_before = round(os.getloadavg()[0], 1)
    encoders = {name: method(name) for name in names}
    for encode in encoders.values():
        encode(texts[:64])
    apart = {name: measured_alone(name, texts[-500:]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    processor_seconds: dict[str, list[float]] = {name: [] for name in names}
    vectors: dict[str, np.ndarray] = {}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin, used = time.perf_counter(), time.process_time()
            vectors[name] = encoders[name](texts)
            seconds[name].append(time.perf_counter() - begin)
            processor_seconds[name].append(time.process_time() - used)
            print(f"round {turn + 1}: {name}: {len(texts) / seconds[name][-1]:.1f} texts/s", file=sys.stderr)

    rows: dict[str, Any] = {}
    for name in names:
        ratio = statistics.median(seconds[PEER]) / statistics.median(seconds[name])
        used = statistics.median(processor_seconds[PEER]) / statistics.median(processor_seconds[name])
        rows[name] = {
            "what": METHODS[name],
            "texts per second": round(len(texts) / statistics.median(seconds[name]), 1),
            "seconds": [round(value, 2) for value in seconds[name]],
            "processor seconds": [round(value, 2) for value in processor_seconds[name]],
            "ratio": round(ratio, 2),
            "ratio of processor time": round(used, 2),
            **quality(vectors[name], vectors[PEER]),
            **apart[name],
        }
    checks = [
        {
            "method": name,
            "figure": figure,
            "at least": bound,
            "got": rows[name][figure],
            "holds": rows[name][figure] >= bound,
        }
        for name, bounds in CRITERIA.items()
        if name in rows
        for figure, bound in bounds.items()
    ]
    result = {
        "benchmark": "encode_text",
        "date": datetime.now(UTC).date().isoformat(),
        "texts": len(texts),
        "tokens": {"mean": round(float(tokens.mean()), 1), "longest": int(tokens.max())},
        "data": version_used("debian-packages"),
        "machine": {**machine(), "load_before": load_before},
        "versions": {**environment(), **{name: metadata.version(name) for name in ("onnxruntime", "tokenizers")}},
        "methods": rows,
        "criteria": checks,
    }
    write_json(options.to, result)
    for name, row in rows.items():
        print(
            f"{name:32} {row['texts per second']:8.1f} texts/s"
            f"  x{row['ratio']:.2f} (processor time x{row['ratio of processor time']:.2f})"
            f"  cosine {row['mean cosine']:.6f} / {row['least cosine']:.6f}  start {row['start_seconds']:.2f} s"
            f"  query {row['query_milliseconds']:.1f} ms  {row['peak_mebibytes']:.0f} MiB"
        )
    failed = [check for check in checks if not check["holds"]]
    for check in failed:
        print(f"does not hold: {check['method']} {check['figure']} {check['got']} < {check['at least']}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
