"""From windows of texts to finished vectors: chunked or whole, shortened, scaled."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from polyvec.core.errors import InvalidValueError
from polyvec.encode.text.arguments import windows_of
from polyvec.encode.text.batches import WindowCall
from polyvec.encode.text.chunking import Chunking, ChunkPlan, ChunkVectors, plan_chunks
from polyvec.encode.text.openvino_runtime import OpenVinoRuntime
from polyvec.encode.text.pooling import unit_length
from polyvec.encode.text.sentence_transformer import ObjectRuntime


@dataclass(frozen=True)
class Computing:
    """A runtime and what is done to the vectors it gives.

    Attributes:
        runtime: Computes the model's own vectors.
        dims: Coordinates that are kept; `None` keeps all.
    """

    runtime: OpenVinoRuntime | ObjectRuntime
    dims: int | None

    @property
    def unit_anyway(self) -> bool:
        """Whether vectors have unit length without being scaled here."""
        return self.runtime.unit_length and self.dims is None

    def sentences(
        self, windows: Iterable[list[str]], call: WindowCall, chunking: Chunking | None, unit: bool
    ) -> Iterator[np.ndarray]:
        """Vectors `(texts, dim)` of each window of texts, in order."""
        if chunking is None:
            for raw in self.runtime.sentence_windows(windows, call):
                yield self._finished(raw, unit)
            return
        plans: deque[tuple[ChunkPlan, int]] = deque()

        def pieces() -> Iterator[list[str]]:
            for texts in windows:
                plan = self._plan(texts, call, chunking)
                plans.append((plan, len(texts)))
                yield plan.texts

        for raw in self.runtime.sentence_windows(pieces(), _uncounted(call)):
            plan, count = plans.popleft()
            pooled = plan.pooled(self._finished(raw, unit), count)
            several = np.bincount(plan.items, minlength=count) > 1
            if unit and several.any():
                pooled[several] = unit_length(pooled[several])
            call.advance(count)
            yield pooled

    def chunks(self, texts: list[str], call: WindowCall, chunking: Chunking, unit: bool) -> ChunkVectors:
        """One vector a chunk of all texts."""
        plans: list[tuple[ChunkPlan, int, int]] = []

        def pieces() -> Iterator[list[str]]:
            begin = 0
            for window in windows_of(texts):
                plan = self._plan(window, call, chunking)
                plans.append((plan, begin, len(window)))
                begin += len(window)
                yield plan.texts

        vectors = [np.zeros((0, self.dims or self.runtime.dim), np.float32)]
        for index, raw in enumerate(self.runtime.sentence_windows(pieces(), _uncounted(call))):
            vectors.append(self._finished(raw, unit))
            call.advance(plans[index][2])
        nothing = np.zeros(0, np.int64)
        return ChunkVectors(
            np.concatenate(vectors),
            np.concatenate([nothing, *(plan.items + begin for plan, begin, _ in plans)]),
            np.concatenate([nothing, *(plan.starts for plan, _, _ in plans)]),
            np.concatenate([nothing, *(plan.ends for plan, _, _ in plans)]),
            np.concatenate([nothing, *(plan.tokens for plan, _, _ in plans)]),
        )

    def tokens(self, texts: list[str], call: WindowCall, special_tokens: bool) -> list[np.ndarray]:
        """Token vectors `(tokens, dim)` of each text."""
        found = [one for part in self.runtime.token_windows(windows_of(texts), call) for one in part]
        for one in found:
            self._check_finite(one)
        if special_tokens:
            return found
        leading = self.runtime.tokenizer.leading_specials
        trailing = self.runtime.tokenizer.special_count - leading
        return [np.ascontiguousarray(one[leading : len(one) - trailing]) for one in found]

    def _plan(self, texts: list[str], call: WindowCall, chunking: Chunking) -> ChunkPlan:
        tokenizer = self.runtime.tokenizer
        prompt_tokens = len(tokenizer.spans(call.prompt).starts) if call.prompt else 0
        return plan_chunks(texts, tokenizer, chunking, prompt_tokens)

    def _finished(self, raw: np.ndarray, unit: bool) -> np.ndarray:
        vectors = raw if self.dims is None else np.ascontiguousarray(raw[:, : self.dims])
        self._check_finite(vectors)
        return unit_length(vectors) if unit and not self.unit_anyway else vectors

    def _check_finite(self, vectors: np.ndarray) -> None:
        if not np.isfinite(vectors).all():
            raise InvalidValueError(
                f"model: {self.runtime.model_name} gave vectors that are not finite; its weights are damaged or "
                "overflow, try precision='exact'"
            )


def _uncounted(call: WindowCall) -> WindowCall:
    """The same call without progress: a runtime that is given chunks would count those, not texts."""
    return replace(call, advance=lambda count: None)
