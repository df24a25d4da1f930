"""The same encoding, spread over Ray Data actors: each takes whole windows, so every batch is as it would be here."""

from __future__ import annotations

import inspect
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from polyvec.core.errors import PolyvecError
from polyvec.core.lazy import require
from polyvec.encode.text.arguments import windows_of
from polyvec.encode.text.batches import WINDOW, WindowCall
from polyvec.encode.text.chunking import Chunking

if TYPE_CHECKING:
    from polyvec.encode.text.encoder import TextEncoder

_OWN_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports its use over the network
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its core warns, on stderr, of arguments that it passes to actors itself
}
"""Environment of a cluster that is started here, put back as it was afterwards."""

DEATHS = 4
"""So often an actor that dies (a machine that goes, the memory that is full) is started again and its window encoded
again, here or on another; a text that kills every actor it meets must not go round for ever."""

WINDOWS_EACH = 4
"""Windows that indexing hands over at once for each core of the cluster: enough to be busy while actors start."""

MOST_CORES = 64
"""More cores get no more at once, so that texts and vectors of what goes out stay within some 2 GB here."""


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

    A cluster that is connected already is used and left running; else `ray_cluster` is for the length of this call.
    Every machine needs polyvec; the model itself is sent to them. The window of an actor that dies is encoded again,
    and each window has its own place in the result, so that nothing is lost or doubled.

    Raises:
        MissingDependencyError: Ray is not installed.
        PolyvecError: The cluster cannot be reached; actors died again and again.
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
    with ray_cluster(workers) as cores, _quiet_data(ray), _deaths(ray):
        actors = min(workers or cores, len(rows))
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            WindowEncoder,
            batch_size=1,
            batch_format="numpy",
            fn_constructor_args=({**wanted, "portable": ray.put(encoder._portable(threads=1))},),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            **_patience(ray),
        )
        for row in dataset.iter_rows():
            vectors = np.frombuffer(row["vectors"], np.float32).reshape(-1, encoder.dim)
            result[row["begin"] : row["begin"] + len(vectors)] = vectors
            call.advance(len(vectors))
    return result


@contextmanager
def ray_cluster(workers: int | None = None) -> Iterator[int]:
    """A connected cluster inside the block; the number of its cores.

    One that is connected already is used and left as it is. Else the one that `RAY_ADDRESS` names is joined, or,
    without that, one is started on this machine, and both are left at the end of the block.

    Args:
        workers: Cores of a cluster that is started here; the default is all.

    Raises:
        MissingDependencyError: Ray is not installed.
        PolyvecError: The cluster that `RAY_ADDRESS` names cannot be reached.
    """
    ray = require("ray", "scale", "engine='ray'")
    if ray.is_initialized():
        yield _cores(ray)
        return
    before = {name: os.environ.get(name) for name in _OWN_CLUSTER}
    os.environ.update(_OWN_CLUSTER)
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        try:
            if address:
                _check_reachable(address)
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if not address:
                raise
            raise PolyvecError(
                f"engine='ray': the cluster at RAY_ADDRESS={address} cannot be joined ({str(error).splitlines()[0]}); "
                "check that it runs and has the same versions of Ray and Python, or unset RAY_ADDRESS"
            ) from error
        yield _cores(ray)
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _patience(ray: Any) -> dict[str, Any]:
    """How Ray Data is told about `DEATHS`; a Ray that cannot be told starts actors again without end."""
    if "ray_remote_args_fn" not in inspect.signature(ray.data.Dataset.map_batches).parameters:
        return {}
    return {"ray_remote_args_fn": lambda: {"max_restarts": DEATHS, "max_task_retries": DEATHS}}


def documents_at_once(cores: int) -> int:
    """How many documents indexing hands over at once, so that each core gets several windows."""
    return WINDOW * WINDOWS_EACH * min(cores, MOST_CORES)


def _check_reachable(address: str) -> None:
    """Raise `ConnectionError` when nothing listens at `host:port`; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from error


def _cores(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def _deaths(ray: Any) -> Iterator[None]:
    """One line for actors that died too often."""
    try:
        yield
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise PolyvecError(
            f"engine='ray': an actor died {DEATHS + 1} times over the same texts; it may need more memory than its "
            "machine has (see Ray's logs), or try engine='local'"
        ) from error


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
