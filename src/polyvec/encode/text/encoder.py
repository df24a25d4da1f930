"""`TextEncoder`: texts to vectors, with sentence-transformers' names and a fast CPU runtime."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.core.progress import progress
from polyvec.encode.text import arguments
from polyvec.encode.text.batches import TOKEN_BUDGET, WindowCall, padded_batch
from polyvec.encode.text.bundled import DEFAULT_MODEL
from polyvec.encode.text.chunking import Chunking
from polyvec.encode.text.computing import Computing
from polyvec.encode.text.loading import load_runtime
from polyvec.encode.text.recipe import model_checksum
from polyvec.encode.text.tokens import check_text, iterate_items

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Output = Literal["sentence", "chunks", "tokens"]
_QUIET_BELOW = 256  # texts: fewer take a moment, and a bar for each query would be a nuisance


class TextEncoder:
    """Encodes texts with a sentence-transformers model, on a CPU several times faster than the library itself.

    Nothing is fetched for the default model. Any number of threads can share one encoder.

    Args:
        model: The default model's name, any sentence-transformers model by folder or hub name, or such an object. Of an
            object the fast runtime takes the weights as they are now; later training is not seen.
        precision: `"auto"` (the default: its vectors have a cosine of 0.9999 and better to float32 ones) computes in
            bfloat16 where the CPU does so natively, else in float32. `"exact"` and `"float32"` are the same: equal to
            sentence-transformers' vectors but for rounding. `"bfloat16"` asks for it, `"int8"` multiplies in 8 bits.
        runtime: `"openvino"`, `"torch"` (sentence-transformers' own `encode`), or `"auto"`: OpenVINO on the CPU where
            the model has the form [Transformer, Pooling by mean, cls or max, optional Normalize] and can be converted.
        device: A torch device such as `"cuda"`, which needs `"torch"`; the default is the CPU.
        dims: Keep only the first coordinates of each vector, for models trained so (Matryoshka).
        normalize: Scale vectors to unit length, also when the model itself does not. A model that ends in Normalize
            does so whatever this says.
        max_length: Tokens after which a text is cut; the default is the model's own limit.
        chunking: How to cut longer texts into chunks instead; the default, like sentence-transformers, encodes the
            beginning only.
        threads: Cores to use; the default is all that this process may use.
        token_budget: Tokens that are computed together on one core; the default fits a core's cache.

    Raises:
        InvalidValueError: An argument that cannot be used.
        InvalidTypeError: An argument of a type that cannot be used.
        DataUnavailableError: No such model, here or on the hub.

    Example:
        >>> from polyvec.encode import TextEncoder
        >>> encoder = TextEncoder()
        >>> encoder.encode(["a cat", "a kitten", "the stock market"]).shape
        (3, 384)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SentenceTransformer = DEFAULT_MODEL,
        *,
        precision: str = "auto",
        runtime: str = "auto",
        device: str | None = None,
        dims: int | None = None,
        normalize: bool = True,
        max_length: int | None = None,
        chunking: Chunking | None = None,
        threads: int | None = None,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        counts = {"dims": dims, "max_length": max_length, "threads": threads, "token_budget": token_budget}
        for name, value in counts.items():
            arguments.check_count(name, value)
        arguments.check_chunking(chunking)
        self._model = model
        self._runtime = load_runtime(
            model,
            precision=precision,
            runtime=runtime,
            device=device,
            threads=threads,
            token_budget=token_budget,
            max_length=max_length,
        )
        self.name = self._runtime.model_name
        if dims is not None and dims > self._runtime.dim:
            raise InvalidValueError(f"dims: got {dims}, needs at most {self._runtime.dim}, what {self.name} gives")
        self._computing = Computing(self._runtime, dims)
        self.normalize = bool(normalize)
        self.chunking = chunking
        self._settings = {"precision": precision, "token_budget": token_budget, "max_length": max_length}
        self._threads = threads
        self._lock = threading.Lock()
        self._checksum: str | None = None

    @property
    def dims(self) -> int | None:
        """How many of the model's coordinates are kept; `None` is all."""
        return self._computing.dims

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return self.dims or self._runtime.dim

    def get_sentence_embedding_dimension(self) -> int:
        """Dimensions of the vectors; sentence-transformers' name."""
        return self.dim

    get_embedding_dimension = get_sentence_embedding_dimension

    @property
    def max_seq_length(self) -> int | None:
        """Tokens, special ones included, after which a text is cut."""
        return self._runtime.max_length

    @property
    def runtime(self) -> str:
        """What computes: `"openvino"` or `"torch"`."""
        return self._runtime.name

    @property
    def precision(self) -> str:
        """The number format that is in fact used: `"float32"`, `"bfloat16"`, `"int8"`."""
        return self._runtime.precision

    @property
    def prompts(self) -> dict[str, str]:
        """The model's own prompts, by name."""
        return dict(self._runtime.prompts)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What identifies this encoder, for whoever stores its vectors.

        `sha256` covers weights and vocabulary: it is the same for one model by name, folder or object. Vectors of two
        encoders can be compared when `sha256`, `dim`, `pooling` and `normalize` agree. `name` and `precision` are
        information: the name changes with the folder, and a model's precisions give comparable vectors.
        """
        with self._lock:
            if self._checksum is None:
                self._checksum = model_checksum(self._runtime.weights_checksum(), self._runtime.vocabulary())
        return {
            "name": self.name,
            "sha256": self._checksum,
            "dim": self.dim,
            "pooling": self._runtime.pooling,
            "normalize": self._unit(None),
            "precision": self.precision,
        }

    def __repr__(self) -> str:
        return (
            f"TextEncoder({self.name!r}, dim={self.dim}, max_length={self.max_seq_length}, "
            f"runtime={self.runtime!r}, precision={self.precision!r})"
        )

    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        output: Output = "sentence",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool | None = None,
        chunking: Chunking | None = None,
        special_tokens: bool = True,
        engine: Literal["local", "ray"] = "local",
        ray_workers: int | None = None,
        task: str | None = None,
    ) -> Any:
        """Vectors of texts.

        An empty text is encoded as the model does it (its special tokens alone); lone surrogates, which are no
        characters, are read as U+FFFD. A text's vector depends in its last bits on the texts it is computed with.

        Args:
            sentences: One text, or any ordered iterable of texts (list, array, Series, Arrow column, generator).
            prompt_name: Name of one of the model's prompts, which is put before every text.
            prompt: A prompt itself; wins over `prompt_name`.
            batch_size: Most texts a batch; the default, `None`, bounds a batch only by its tokens.
            show_progress_bar: `None` draws a bar on a terminal when there are many texts.
            output: `"sentence"`: one vector a text. `"chunks"`: `ChunkVectors`, one vector a chunk. `"tokens"`: the
                last hidden states `(tokens, dim)` of each text without padding, for multi-vector search; of the model's
                full dimensions and not normalized, as sentence-transformers gives them.
            convert_to_numpy: Give numpy arrays (the default); `False` gives a list of torch tensors.
            convert_to_tensor: Give one torch tensor; wins over `convert_to_numpy`.
            normalize_embeddings: Overrides the encoder's `normalize` for this call.
            chunking: Overrides the encoder's `chunking` for this call.
            special_tokens: Whether `output="tokens"` keeps the vectors of special tokens such as [CLS] and [SEP].
            engine: `"ray"` spreads the same batches over Ray Data actors, for `output="sentence"`; on machines of one
                kind the vectors are identical.
            ray_workers: Actors; the default is one for each core of the cluster.
            task: `"query"` or `"document"`, for models that treat them differently; see `encode_query`.

        Returns:
            float32 `(texts, dim)`, or `(dim,)` for one `str`; what `output` says otherwise.

        Raises:
            InvalidTypeError: An item is not a `str`; the message names its index.
            InvalidValueError: Another argument cannot be used.
            MissingDependencyError: `engine="ray"` without Ray.
        """
        arguments.check_choice("output", output, ("sentence", "chunks", "tokens"))
        arguments.check_choice("engine", engine, ("local", "ray"))
        arguments.check_count("batch_size", batch_size)
        arguments.check_count("ray_workers", ray_workers)
        arguments.check_chunking(chunking)
        single = isinstance(sentences, str)
        texts = [check_text(item, i) for i, item in enumerate([sentences] if single else iterate_items(sentences))]
        chunking = chunking or self.chunking
        if output == "sentence" and chunking is not None and chunking.pooling == "none":
            output = "chunks"
        if engine == "ray" and output != "sentence":
            raise InvalidValueError(
                f"engine: 'ray' gives output='sentence' only, got output={output!r}; use engine='local'"
            )
        call = WindowCall(self._prompt(prompt, prompt_name), task, batch_size)
        unit = self._unit(normalize_embeddings)
        convert = arguments.converter(convert_to_numpy, convert_to_tensor)
        show = False if show_progress_bar is None and len(texts) < _QUIET_BELOW else show_progress_bar
        with progress("Encoding", len(texts), show=show) as bar:
            call = replace(call, advance=bar.advance)
            if output == "chunks":
                return self._computing.chunks(texts, call, chunking or Chunking(), unit)
            if output == "tokens":
                tokens = self._computing.tokens(texts, call, special_tokens)
                return convert(tokens[0]) if single else [convert(one) for one in tokens]
            if engine == "ray":
                from polyvec.encode.text.ray_engine import encode_with_ray

                vectors = encode_with_ray(self, texts, call, chunking, unit, workers=ray_workers)
            else:
                vectors = np.zeros((len(texts), self.dim), np.float32)
                begin = 0
                windows = arguments.windows_of(texts)
                for part in self._computing.sentences(windows, call, chunking, unit):
                    vectors[begin : begin + len(part)] = part
                    begin += len(part)
        return convert(vectors)[0] if single else convert(vectors)

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """`encode` with the model's prompt for queries, where it has one."""
        return self._encode_task("query", ("query",), sentences, options)

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """`encode` with the model's prompt for documents, where it has one."""
        return self._encode_task("document", ("document", "passage", "corpus"), sentences, options)

    def _encode_task(self, task: str, names: tuple[str, ...], sentences: Any, options: dict[str, Any]) -> Any:
        if options.get("prompt") is None and options.get("prompt_name") is None:
            options = {**options, "prompt_name": next((name for name in names if name in self._runtime.prompts), None)}
        return self.encode(sentences, **{"task": task, **options})

    def encode_stream(
        self,
        items: Iterable[str | tuple[Any, str]],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool | None = None,
        chunking: Chunking | None = None,
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """Encode a corpus of any length in bounded memory; the vectors are those of `encode`.

        Args:
            items: Texts, or pairs `(id, text)`; read as far as needed.
            prompt_name: As in `encode`, like the other options.
            prompt: As in `encode`.
            batch_size: As in `encode`.
            show_progress_bar: As in `encode`.
            normalize_embeddings: As in `encode`.
            chunking: As in `encode`, with `pooling="mean"`.

        Yields:
            `(ids, vectors)` for some 2,000 texts at a time, in order; without ids, the numbers of the texts.
        """
        arguments.check_count("batch_size", batch_size)
        arguments.check_chunking(chunking)
        chunking = chunking or self.chunking
        if chunking is not None and chunking.pooling == "none":
            raise InvalidValueError("chunking: got pooling='none', needs 'mean' here; use encode(..., output='chunks')")
        call = WindowCall(self._prompt(prompt, prompt_name), None, batch_size)
        unit = self._unit(normalize_embeddings)
        ids: deque[Any] = deque()

        def texts() -> Iterator[str]:
            for index, item in enumerate(iterate_items(items)):
                if isinstance(item, str):
                    key, text = index, item
                elif isinstance(item, (tuple, list)) and len(item) == 2:
                    key, text = item
                else:
                    raise InvalidTypeError(
                        f"items[{index}]: got {type(item).__name__}, needs a str or a pair (id, text)"
                    )
                cleaned = check_text(text, index)
                ids.append(key)
                yield cleaned

        with progress("Encoding", None, show=show_progress_bar) as bar:
            call = replace(call, advance=bar.advance)
            windows = arguments.windows_of(texts())
            for vectors in self._computing.sentences(windows, call, chunking, unit):
                yield [ids.popleft() for _ in range(len(vectors))], vectors

    def tokenize(self, texts: str | Iterable[str]) -> dict[str, np.ndarray]:
        """`input_ids` and `attention_mask`, int64 `(texts, longest)`, padded on the right and cut as `encode` does."""
        items = [texts] if isinstance(texts, str) else iterate_items(texts)
        tokens = self._runtime.tokenizer([check_text(item, index) for index, item in enumerate(items)])
        ids, mask = padded_batch(tokens, np.arange(len(tokens.lengths)), self._runtime.pad_id)
        return {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a folder that `TextEncoder.load` and sentence-transformers both read, to the same vectors.

        `dims` and `chunking` are known to `load` alone; sentence-transformers would need them at each call. A folder
        that exists is replaced, atomically.

        Raises:
            FileProblemError: The folder cannot be written.
            InvalidValueError: The `SentenceTransformer` that was given has been changed since.
        """
        from polyvec.encode.text.saving import save_encoder

        save_encoder(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Read what `save` wrote, or any sentence-transformers folder; `options` of the constructor win."""
        from polyvec.encode.text.saving import saved_options

        return cls(path, **{**saved_options(path), **options})

    def _unit(self, asked: bool | None) -> bool:
        """Whether vectors get unit length: asked for, or what the model does in any case."""
        return bool(self.normalize if asked is None else asked) or self._computing.unit_anyway

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        known = self._runtime.prompts
        if prompt is None:
            if name is None:
                name = self._runtime.default_prompt
            elif name not in known:
                raise InvalidValueError(f"prompt_name: got {name!r}, needs one of {', '.join(known) or '(none there)'}")
            prompt = known.get(name, "") if name is not None else ""
        return check_text(prompt, 0)

    def _portable(self, threads: int | None) -> dict[str, Any]:
        """All that another process needs to be this encoder."""
        options = {"runtime": self.runtime, "dims": self.dims, "normalize": self.normalize, "chunking": self.chunking}
        return {"model": self._runtime.portable(), "options": {**self._settings, **options, "threads": threads}}

    @classmethod
    def _from_portable(cls, portable: dict[str, Any]) -> Self:
        return cls(portable["model"], **portable["options"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickling takes the weights along; threads and compiled networks are made anew."""
        return (type(self)._from_portable, (self._portable(self._threads),))
