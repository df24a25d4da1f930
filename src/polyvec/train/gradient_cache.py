"""Batches beyond memory: gradients of a loss over a whole batch, with the graph of one small chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.train.sizes import check_size


def cached_backward(
    encoder: Callable[[Any], Any],
    columns: Sequence[Any],
    objective: Callable[..., Tensor],
    chunk_size: int,
    *,
    batch_dim: int = 0,
    loss_scale: float = 1.0,
    **options: Any,
) -> Tensor:
    """Add the gradients of `objective(encoder(column), ...)` to the parameters, encoding `chunk_size` rows at a time.

    A contrastive loss gets better with the number of its negatives, thus with the batch; but the activations of a large
    batch do not fit in memory. So all rows are encoded without a graph, the loss gives the gradient of each embedding,
    and then each chunk is encoded once more, with a graph, to take its embeddings' gradients back to the parameters.
    The result is the gradient of the whole batch, not an approximation. The price is one more forward pass. Use it in
    place of `loss.backward()`:

        optimiser.zero_grad()
        loss = cached_backward(model, [queries, documents], MatryoshkaLoss(InfoNCE()), chunk_size=32)
        optimiser.step()

    Random layers (dropout) draw the same numbers in both passes. The encoder may be wrapped in
    `DistributedDataParallel`: gradients are exchanged once, with the last chunk.

    Args:
        encoder: Called with a chunk of a column, gives embeddings `(rows, dim)`, or a mapping with them as
            "sentence_embedding", as the modules of sentence-transformers do.
        columns: One for each embedding that the objective takes: a tensor, a mapping of tensors (tokens and masks), or
            a list of items (texts), each with the rows first. A column without rows of its own cannot be cut.
        objective: Any objective on embeddings; parameters of its own (a learned temperature) get their gradients too.
        chunk_size: Rows that are encoded with a graph at a time.
        batch_dim: Where the embeddings have their rows; 1 for an encoder that returns its layers
            `(layers, rows, dim)`.
        loss_scale: Multiplies the gradients, not the returned loss: the scale of a gradient scaler, or one over the
            number of accumulated batches.
        options: Given to the objective by keyword (guide vectors, masks).

    Returns:
        The loss, detached.

    Raises:
        InvalidTypeError: A column that cannot be cut; an encoder without a tensor as result.
        InvalidValueError: No columns, an empty one; chunk size below 1; wrong number of embeddings; an encoder with
            batch normalisation in training mode, whose result depends on what is encoded together.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021), section 3.

    Example:
        >>> import torch
        >>> from polyvec.train import InfoNCE
        >>> encoder, columns = torch.nn.Linear(6, 4), [torch.randn(32, 6), torch.randn(32, 6)]
        >>> loss = cached_backward(encoder, columns, InfoNCE(), chunk_size=8)
        >>> encoder.weight.grad.shape
        torch.Size([4, 6])
    """
    size = check_size(chunk_size, "chunk_size")
    if not len(columns):
        raise InvalidValueError("columns: got none, needs one for each embedding of the objective")
    _check_layers(encoder)
    chunks = [_cut(column, size, f"columns[{position}]") for position, column in enumerate(columns)]
    embeddings, states = [], []
    with torch.no_grad():
        for parts in chunks:
            encoded = []
            for part in parts:
                states.append(_RandomState())
                encoded.append(_embeddings_of(encoder(part.content), part.rows, batch_dim))
            embeddings.append(torch.cat(encoded, dim=batch_dim))
    torch.clear_autocast_cache()  # it holds copies of the weights that were made without a graph
    leaves = [part.requires_grad_() for part in embeddings]
    with torch.enable_grad():
        loss = objective(*leaves, **options)
        torch.autograd.backward(loss * loss_scale)
    work = [
        (part, gradient)
        for parts, leaf in zip(chunks, leaves, strict=True)
        for part, gradient in zip(parts, _gradients(leaf, parts, batch_dim), strict=True)
    ]
    last = max((number for number, (_, gradient) in enumerate(work) if gradient is not None), default=-1)
    with torch.enable_grad():
        for number, (state, (part, gradient)) in enumerate(zip(states, work, strict=True)):
            if gradient is None:
                continue
            with nullcontext() if number == last else _without_exchange(encoder), state.replayed():
                again = _embeddings_of(encoder(part.content), part.rows, batch_dim)
                torch.autograd.backward(again, gradient)
    return loss.detach()


class _Part:
    """A chunk of a column and its number of rows."""

    def __init__(self, content: Any, rows: int) -> None:
        self.content, self.rows = content, rows


class _RandomState:
    """The random numbers to come, on the CPU and on the GPUs in use."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        initialized = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        self._cuda = torch.cuda.get_rng_state_all() if initialized else []

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw the same numbers again; afterwards the generators go on where they were."""
        with torch.random.fork_rng(devices=range(len(self._cuda))):
            torch.set_rng_state(self._cpu)
            if self._cuda:
                torch.cuda.set_rng_state_all(self._cuda)
            yield


def _check_layers(encoder: Any) -> None:
    if not callable(encoder):
        raise InvalidTypeError(f"encoder: got {type(encoder).__name__}, needs a module or function")
    for name, layer in encoder.named_modules() if isinstance(encoder, nn.Module) else ():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            raise InvalidValueError(
                f"encoder: layer {name!r} normalises over the batch, so chunks would give other embeddings; "
                "needs layer or group normalisation, or .eval() on that layer"
            )


def _rows(value: Any, name: str) -> int:
    if isinstance(value, Tensor) and value.ndim == 0:
        raise InvalidTypeError(f"{name}: got a tensor without dimensions, needs rows")
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise InvalidTypeError(f"{name}: got {type(value).__name__}, needs a tensor, a mapping of tensors or a list")
    return len(value)


def _cut(column: Any, size: int, name: str) -> list[_Part]:
    """The chunks of one column."""
    if isinstance(column, Mapping):
        rows = {key: _rows(value, f"{name}[{key!r}]") for key, value in column.items()}
        if len(set(rows.values())) != 1:
            raise InvalidValueError(f"{name}: got {rows} rows, needs the same number in each, and at least one entry")
        count = next(iter(rows.values()))
    else:
        count = _rows(column, name)
    if not count:
        raise InvalidValueError(f"{name}: got no rows, needs at least one")
    parts = []
    for start in range(0, count, size):
        rows_here = slice(start, min(start + size, count))
        if isinstance(column, Mapping):
            content: Any = {key: value[rows_here] for key, value in column.items()}
        else:
            content = column[rows_here]
        parts.append(_Part(content, rows_here.stop - start))
    return parts


def _embeddings_of(result: Any, rows: int, batch_dim: int) -> Tensor:
    if isinstance(result, Mapping) and "sentence_embedding" in result:
        result = result["sentence_embedding"]
    if not isinstance(result, Tensor) or not result.is_floating_point():
        raise InvalidTypeError(f"encoder: returned {type(result).__name__}, needs a tensor of floating-point numbers")
    if result.ndim <= batch_dim or result.shape[batch_dim] != rows:
        raise InvalidValueError(
            f"encoder: returned shape {tuple(result.shape)} for {rows} rows, needs {rows} in dimension {batch_dim}"
        )
    return result


def _gradients(leaf: Tensor, parts: Sequence[_Part], batch_dim: int) -> Sequence[Tensor | None]:
    """The gradient of each chunk's embeddings; `None` for a column that the loss does not depend on."""
    if leaf.grad is None:
        return [None] * len(parts)
    return torch.split(leaf.grad, [part.rows for part in parts], dim=batch_dim)


def _without_exchange(encoder: Any) -> Any:
    """Of `DistributedDataParallel` and its kin: gradients are only summed here, not over the processes."""
    no_sync = getattr(encoder, "no_sync", None)
    return no_sync() if callable(no_sync) else nullcontext()
