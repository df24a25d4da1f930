"""The fast CPU runtime: an OpenVINO network, one thread a stream, as many streams as cores."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from polyvec.encode.text.batches import WindowCall, padded_batch, plan_batches
from polyvec.encode.text.openvino_import import load_openvino
from polyvec.encode.text.pooling import pool_tokens, unit_length
from polyvec.encode.text.recipe import Recipe
from polyvec.encode.text.tokens import TextTokenizer, Tokenized

logger = logging.getLogger("polyvec.encode.text")
T = TypeVar("T")


def available_cores() -> int:
    """Cores that this process may use: its affinity, and a container's quota where one is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()[:2]
        cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no control group, or no limit ("max")
    return cores


class OpenVinoRuntime:
    """Runs a recipe's network on the CPU.

    Each stream computes its own batch on one thread: on two cores, two batches side by side beat one batch on two
    threads, and a batch's result does not depend on how many streams there are.

    Args:
        recipe: The model.
        precision: `"auto"` is bfloat16 where the CPU computes in it, else float32; `"exact"` is float32; `"int8"`
            stores weights and multiplies in 8 bits, the rest as in `"auto"`.
        threads: Streams; `None` is every core that the process may use.
        token_budget: Tokens a batch.
        max_length: Tokens after which a text is cut; `None` is the model's own.
    """

    name = "openvino"

    def __init__(
        self, recipe: Recipe, *, precision: str, threads: int | None, token_budget: int, max_length: int | None = None
    ) -> None:
        ov = load_openvino()

        self.recipe = recipe
        self.tokenizer = TextTokenizer(recipe.tokenizer_json, max_length or recipe.max_length)
        self.streams = threads or available_cores()
        self._token_budget = token_budget
        self._core = ov.Core()
        native = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not native:
            logger.warning("precision: this CPU does not compute in bfloat16; float32 is used")
        self.precision = {"exact": "float32", "auto": "bfloat16"}.get(precision, precision)
        if self.precision == "bfloat16" and not native:
            self.precision = "float32"
        self._arithmetic = "bf16" if native and self.precision != "float32" else "f32"
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[Any] | None = None
        self._integer: Any = np.int32

        self.dim = recipe.dim
        self.model_name = recipe.name
        self.max_length = self.tokenizer.max_length
        self.pooling: str = recipe.pooling
        self.unit_length = recipe.unit_length
        self.pad_id = recipe.pad_id
        self.prompts = recipe.prompts
        self.default_prompt = recipe.default_prompt
        self.folder = recipe.folder

    def vocabulary(self) -> dict[str, int]:
        """Every token and its number."""
        return self.tokenizer.vocabulary()

    def portable(self) -> Recipe:
        """The recipe without reference to any file."""
        return replace(self.recipe, network=self.recipe.network.detached(), folder=None)

    def weights_checksum(self) -> str:
        """SHA-256 over the weights."""
        return self.recipe.network.weights_checksum()

    def _ready(self) -> queue.SimpleQueue[Any]:
        """The free inference requests; compiles the network when it is first needed."""
        with self._lock:
            if self._requests is None:
                self._requests = self._compile()
            return self._requests

    def _compile(self) -> queue.SimpleQueue[Any]:
        network = self.recipe.network.build()
        settings = {
            "INFERENCE_PRECISION_HINT": self._arithmetic,
            "NUM_STREAMS": str(self.streams),
            "INFERENCE_NUM_THREADS": str(self.streams),
            "ENABLE_CPU_PINNING": "NO",  # pinned threads of two processes would share a core and leave another idle
            "CACHE_DIR": "",
        }
        if self.precision == "int8":
            from polyvec.encode.text.eight_bits import quantize_weights

            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(quantize_weights(network))
        compiled = self._core.compile_model(network, "CPU", settings)
        self._integer = compiled.input(0).get_element_type().to_dtype()
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.streams):
            requests.put(compiled.create_infer_request())
        return requests

    def _infer(self, ids: np.ndarray, mask: np.ndarray, use: Callable[[np.ndarray], T]) -> T:
        """`use(token vectors)`, called while the inference request that owns the vectors' memory is still ours."""
        requests = self._ready()
        request = requests.get()
        try:
            inputs = {"input_ids": ids.astype(self._integer, copy=False)}
            inputs["attention_mask"] = mask.astype(self._integer, copy=False)
            request.infer(inputs, share_inputs=True)
            return use(request.get_output_tensor(0).data)
        finally:
            requests.put(request)

    def sentence_windows(self, windows: Iterable[list[str]], call: WindowCall) -> Iterator[np.ndarray]:
        """Vectors `(texts, dim)` of each window of texts, in order."""
        recipe = self.recipe

        def allocate(count: int) -> np.ndarray:
            return np.zeros((count, recipe.dim), np.float32)

        def compute(tokens: Tokenized, members: np.ndarray, target: np.ndarray) -> None:
            ids, mask = padded_batch(tokens, members, recipe.pad_id)
            pooled = self._infer(ids, mask, lambda hidden: pool_tokens(hidden, mask, recipe.pooling))
            target[members] = unit_length(pooled) if recipe.unit_length else pooled

        return self._windows(windows, allocate, compute, call)

    def token_windows(self, windows: Iterable[list[str]], call: WindowCall) -> Iterator[list[np.ndarray]]:
        """Token vectors `(tokens, dim)` of each text of each window, special tokens included."""

        def allocate(count: int) -> list[np.ndarray]:
            return [np.zeros((0, self.recipe.dim), np.float32)] * count

        def compute(tokens: Tokenized, members: np.ndarray, target: list[np.ndarray]) -> None:
            ids, mask = padded_batch(tokens, members, self.recipe.pad_id)
            lengths = tokens.lengths[members]

            def keep(hidden: np.ndarray) -> None:
                for row, (member, length) in enumerate(zip(members, lengths, strict=True)):
                    target[member] = np.array(hidden[row, :length], np.float32)

            self._infer(ids, mask, keep)

        return self._windows(windows, allocate, compute, call)

    def _windows(
        self,
        windows: Iterable[list[str]],
        allocate: Callable[[int], T],
        compute: Callable[[Tokenized, np.ndarray, T], None],
        call: WindowCall,
    ) -> Iterator[T]:
        """Run the batches of all windows on all streams; the next window is tokenized while one is computed.

        On any way out (an error, Ctrl-C, a consumer that stops) batches that have not begun are dropped.
        """
        waiting: deque[tuple[T, list[tuple[Future[None], int]]]] = deque()
        pool: ThreadPoolExecutor | None = None

        def collect() -> T:
            target, futures = waiting.popleft()
            for future, count in futures:
                future.result()
                call.advance(count)
            return target

        try:
            for texts in windows:
                tokens = self.tokenizer([call.prompt + text for text in texts] if call.prompt else texts)
                target = allocate(len(texts))
                batches = plan_batches(tokens.lengths, self._token_budget, call.batch_size)
                if pool is None and len(batches) == 1:  # a query: no thread is started for it
                    compute(tokens, batches[0], target)
                    call.advance(len(texts))
                    yield target
                    continue
                if pool is None:
                    self._ready()
                    pool = ThreadPoolExecutor(self.streams, thread_name_prefix="polyvec-encode")
                waiting.append(
                    (target, [(pool.submit(compute, tokens, batch, target), len(batch)) for batch in batches])
                )
                if len(waiting) > 1:
                    yield collect()
            while waiting:
                yield collect()
        finally:
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
