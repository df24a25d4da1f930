"""The same encoding, spread over Ray Data actors: each takes whole windows, so every batch is as it would be here."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.lazy import require
from polyvec.encode.text.arguments import windows_of
from polyvec.encode.text.batches import WindowCall
from polyvec.encode.text.chunking import Chunking

if TYPE_CHECKING:
    from polyvec.encode.text.encoder import TextEncoder

_OWN_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports its use over the network
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its core warns, on stderr, of arguments that it passes to actors itself
}
"""Environment of a cluster that is started here, put back as it was afterwards."""


class WindowEncoder:
    """What each actor holds: an encoder on one core, and how this call wants its vectors."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        import ray

        from polyvec.encode.text.encoder import TextEncoder

        self._encoder = TextEncoder._from_portable(ray.get(wanted["portable"]))
        self._call = WindowCall(wanted["prompt"], wanted["task"], wanted["batch_size"])
        self._chunking = None if wanted["chunking"] is None else Chunking(**wanted["chunking"])
        self._unit = wanted["unit"]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Encode one window; vectors travel as bytes, which nothing on the way can round."""
        texts = [str(text) for text in batch["texts"][0]]
        (vectors,) = self._encoder._computing.sentences([texts], self._call, self._chunking, self._unit)
        return {"begin": batch["begin"], "vectors": np.array([vectors.tobytes()], object)}


def encode_with_ray(
    encoder: TextEncoder,
    texts: list[str],
    call: WindowCall,
    chunking: Chunking | None,
    unit: bool,
    *,
    workers: int | None,
) -> np.ndarray:
    """Vectors `(texts, dim)`, in order.

    A cluster that is connected already is used and left running; else one is started on this machine for the call and
    stopped after it. Every machine needs polyvec; the model itself is sent to them.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    ray = require("ray", "scale", "engine='ray'")
    require("ray.data", "scale", "engine='ray'")
    result = np.zeros((len(texts), encoder.dim), np.float32)
    rows, begin = [], 0
    for window in windows_of(texts):
        rows.append({"begin": begin, "texts": window})
        begin += len(window)
    if not rows:
        return result
    wanted = {
        "prompt": call.prompt,
        "task": call.task,
        "batch_size": call.batch_size,
        "chunking": None if chunking is None else asdict(chunking),
        "unit": unit,
    }
    with _cluster(ray, workers), _quiet_data(ray):
        actors = min(workers or max(1, int(ray.cluster_resources().get("CPU", 1))), len(rows))
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            WindowEncoder,
            batch_size=1,
            batch_format="numpy",
            fn_constructor_args=({**wanted, "portable": ray.put(encoder._portable(threads=1))},),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
        )
        for row in dataset.iter_rows():
            vectors = np.frombuffer(row["vectors"], np.float32).reshape(-1, encoder.dim)
            result[row["begin"] : row["begin"] + len(vectors)] = vectors
            call.advance(len(vectors))
    return result


@contextmanager
def _cluster(ray: Any, workers: int | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    before = {name: os.environ.get(name) for name in _OWN_CLUSTER}
    os.environ.update(_OWN_CLUSTER)
    try:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet_data(ray: Any) -> Iterator[None]:
    """No bars and no log lines of Ray Data's own: progress is shown by the caller."""
    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
