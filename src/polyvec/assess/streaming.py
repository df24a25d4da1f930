"""RankMe of embeddings that arrive batch by batch, on one process or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

from polyvec.assess.blocks import MatrixBlocks, float64_device
from polyvec.assess.moments import Moments
from polyvec.assess.spectrum import (
    OnCollapse,
    SpectrumReport,
    check_eps,
    check_on_collapse,
    collapsed,
    effective_rank,
    moments_of,
    report_of_spectra,
    spectrum_of_moments,
    warn_if_capped,
)
from polyvec.core.arrays import is_tensor
from polyvec.core.errors import InvalidTypeError, InvalidValueError


class RankMe:
    """The RankMe score of all rows seen so far, without keeping them.

    Has torchmetrics' verbs (`update`, `compute`, `reset`, `to`, `state_dict`) and no dependency on it. The state is a
    `dim x dim` float64 matrix, summed on the device of the first batch; each row counts once, however the batches are
    cut. Under `torch.distributed` every process updates its own metric and `compute` sums the states of all of them,
    without changing them; rows are not gathered. Feed evaluation-mode outputs, and one epoch of them: the score of a
    single batch is capped by its length. What the score means and what it must not be used for: see `rankme`.

    It is a plain object, not a `Module`: as a registered buffer its state would be cast to half precision with the
    model, and overwritten by DistributedDataParallel, which broadcasts the buffers of the first process.

    Args:
        dim: Width of the embeddings.
        eps: Added to each normalised singular value; the published constant.
        center: Subtract the mean row of all data. The published definition does not.
        on_collapse: What `compute` does when there is no variance at all: "raise", or score it "zero".
        process_group: Whose states `compute` sums; `None` is the default group.
        sync: Whether `compute` sums over processes at all.

    Raises:
        InvalidValueError: Width below 1, negative `eps`, unknown `on_collapse`.

    Source: Garrido et al., "RankMe" (ICML 2023), section 3.

    Example:
        >>> import torch
        >>> metric = RankMe(4)
        >>> for batch in torch.eye(4).repeat(6, 1).split(5):
        ...     metric.update(batch)
        >>> round(metric.compute(), 3), metric.count
        (4.0, 24)
    """

    def __init__(
        self,
        dim: int,
        eps: float = 1e-7,
        center: bool = False,
        *,
        on_collapse: OnCollapse = "raise",
        process_group: dist.ProcessGroup | None = None,
        sync: bool = True,
    ) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise InvalidTypeError(f"dim: got {type(dim).__name__}, needs the width of the embeddings as an int")
        if dim < 1:
            raise InvalidValueError(f"dim: got {dim}, needs at least 1")
        check_on_collapse(on_collapse)
        self.dim = dim
        self.eps = check_eps(eps)
        self.center = bool(center)
        self.on_collapse: OnCollapse = on_collapse
        self.process_group = process_group
        self.sync = bool(sync)
        self._moments: Moments | None = None

    def __repr__(self) -> str:
        return f"RankMe(dim={self.dim}, eps={self.eps}, center={self.center}, count={self.count})"

    @property
    def count(self) -> int:
        """Number of rows seen by this process."""
        return self._moments.count if self._moments else 0

    def _empty(self, device: torch.device | str) -> Moments:
        return Moments(
            torch.zeros(self.dim, dtype=torch.float64, device=device),
            torch.zeros(self.dim, self.dim, dtype=torch.float64, device=device),
        )

    @torch.inference_mode(False)  # state made in inference mode could not be added to outside of it
    def update(self, z: Any) -> None:
        """Take in a batch `(rows, dim)`; of any kind that `rankme` takes. A batch that is refused leaves no trace.

        Raises:
            InvalidTypeError: Not real numbers.
            InvalidValueError: Not two-dimensional, empty, another width, NaN or infinity (with the row in the batch).
        """
        blocks = MatrixBlocks(z, "z")
        if blocks.columns != self.dim:
            raise InvalidValueError(f"z: got {blocks.columns} dimensions, needs {self.dim} as this metric was made for")
        batch = moments_of(blocks)
        if not is_tensor(batch.mean):
            batch.mean, batch.scatter = torch.from_numpy(batch.mean), torch.from_numpy(batch.scatter)
        if self._moments is None:
            self._moments = self._empty(batch.mean.device)
        self._moments.merge(batch)

    @torch.inference_mode(False)
    def merge(self, other: RankMe) -> None:
        """Take in all rows that `other` has seen; `other` is unchanged.

        Raises:
            InvalidTypeError: Not a `RankMe`.
            InvalidValueError: Of another width.
        """
        if not isinstance(other, RankMe):
            raise InvalidTypeError(f"other: got {type(other).__name__}, needs a RankMe")
        if other.dim != self.dim:
            raise InvalidValueError(f"other: got a metric of {other.dim} dimensions, needs {self.dim}")
        if other._moments is None:
            return
        if self._moments is None:
            self._moments = self._empty(other._moments.mean.device)
        self._moments.merge(other._moments)

    def reset(self) -> None:
        """Forget all rows."""
        self._moments = None

    def to(self, device: torch.device | str) -> RankMe:
        """Move the state to `device`; it stays float64 (and on the CPU where the device has no float64)."""
        if self._moments is not None:
            target = float64_device(device)
            self._moments.mean = self._moments.mean.to(target)
            self._moments.scatter = self._moments.scatter.to(target)
        return self

    def compute(self) -> float:
        """The score of all rows seen, by all processes when `torch.distributed` is initialised (all must call it).

        Raises:
            InvalidValueError: No rows yet, or collapsed and `on_collapse="raise"`.

        Warns:
            RankCappedWarning: Fewer rows than dimensions.
        """
        moments = self._synchronised()
        warn_if_capped(moments.count, self.dim, self.center, "RankMe")
        spectrum = spectrum_of_moments(moments, self.center, "RankMe")
        if spectrum[0] > 0:
            return effective_rank(spectrum, self.eps)
        if self.on_collapse == "zero":
            return 0.0
        raise collapsed("RankMe", self.center)

    def report(self) -> SpectrumReport:
        """All numbers of `spectrum_report` for the rows seen, by all processes as in `compute`.

        Raises:
            InvalidValueError: No rows yet, or collapsed.
        """
        moments = self._synchronised()
        centered = spectrum_of_moments(moments, True, "RankMe")
        raw = centered if self.center else spectrum_of_moments(moments, False, "RankMe")
        if raw[0] == 0:
            raise collapsed("RankMe", self.center)
        return report_of_spectra(raw, centered, n=moments.count, dim=self.dim, center=self.center, eps=self.eps)

    def _synchronised(self) -> Moments:
        """The moments of all processes' rows; judged after the exchange, so that no process is left waiting."""
        moments = self._moments
        if self.sync and dist.is_available() and dist.is_initialized() and dist.get_world_size(self.process_group) > 1:
            moments = self._reduce(moments or self._empty("cpu"))
        if moments is None or moments.count == 0:
            raise InvalidValueError("RankMe: no rows yet; call update(z) before compute()")
        return moments

    def _reduce(self, own: Moments) -> Moments:
        group = self.process_group
        on_cuda = "nccl" in dist.get_backend(group)
        device = torch.device("cuda", torch.cuda.current_device()) if on_cuda else torch.device("cpu")
        mean, scatter = own.mean.to(device), own.scatter.to(device)
        sums = torch.cat([mean * own.count, mean.new_tensor([float(own.count)])])
        dist.all_reduce(sums, group=group)
        largest = mean.new_tensor([own.largest])
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
        count = int(sums[-1].item())
        overall = sums[:-1] / max(count, 1)
        shift = mean - overall
        total = scatter + (shift * own.count)[:, None] * shift[None, :]
        dist.all_reduce(total, group=group)
        return Moments(overall, total, count, float(largest.item()))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The state as float64 tensors, ready for safetensors: `count`, `largest`, `mean`, `scatter`."""
        moments = self._moments or self._empty("cpu")
        return {
            "count": torch.tensor(moments.count, dtype=torch.int64),
            "largest": torch.tensor(moments.largest, dtype=torch.float64),
            "mean": moments.mean.clone(),
            "scatter": moments.scatter.clone(),
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over a state that `state_dict` gave, of a metric of the same width; what was seen before is forgotten.

        Raises:
            InvalidValueError: Entries missing, or of another width.
        """
        missing = {"count", "largest", "mean", "scatter"} - set(state)
        if missing:
            raise InvalidValueError(f"state: lacks {', '.join(sorted(missing))}; needs what state_dict() returned")
        mean, scatter = state["mean"], state["scatter"]
        if tuple(mean.shape) != (self.dim,) or tuple(scatter.shape) != (self.dim, self.dim):
            raise InvalidValueError(
                f"state: got mean {tuple(mean.shape)} and scatter {tuple(scatter.shape)}, needs width {self.dim}"
            )
        self._moments = Moments(
            mean.to(torch.float64, copy=True),
            scatter.to(torch.float64, copy=True),
            int(state["count"]),
            float(state["largest"]),
        )
