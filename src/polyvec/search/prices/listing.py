"""The price list: rows of what each setting costs and keeps, the front of the best, and the choice among them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.core.files import file_problem, write_json
from polyvec.search.prices.measures import K, interval

_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(b|bytes?|kb|kib)?\s*", re.IGNORECASE)
_UNITS = {"kb": 1000, "kib": 1024}


@dataclass(slots=True)
class PriceRow:
    """One setting: what it costs a document and what it keeps.

    Attributes:
        name: The compressor's name in the registry; `full` for the vectors themselves.
        setting: Its arguments.
        label: Both in a few words.
        rescoring: `False`, or the label of the finer code that the shortlist is ranked by.
        bytes: That a scan reads a document.
        kept_bytes: That must be kept a document, with the finer code.
        recall_1: Share of the full vectors' nearest that is found first: mean, low, high.
        recall_10: Share of their ten nearest among the ten found: mean, low, high.
        ndcg_10: nDCG of the first ten against the full vectors' ranking: mean, low, high.
        build_seconds: To learn from and to encode the documents.
        queries_per_second: One query after the other, on this machine.
        pareto: Whether no other row keeps as much for fewer kept bytes.
        rescoring_name: The finer code's name in the registry.
        rescoring_setting: Its arguments.
    """

    name: str
    setting: dict[str, Any]
    label: str
    rescoring: bool | str
    bytes: int
    kept_bytes: int
    recall_1: list[float]
    recall_10: list[float]
    ndcg_10: list[float]
    build_seconds: float
    queries_per_second: float
    pareto: bool = False
    rescoring_name: str | None = None
    rescoring_setting: dict[str, Any] | None = None

    @property
    def full_label(self) -> str:
        """The label, with the finer code."""
        return f"{self.label} + {self.rescoring}" if self.rescoring else self.label


@dataclass(slots=True)
class PriceList:
    """What every byte buys, measured on somebody's own vectors.

    Attributes:
        documents: Vectors that were searched among.
        queries: Queries that the rows' figures come from.
        dim: Dimensions.
        full_bytes: Bytes of a full vector.
        metric: `cosine`, `dot` or `l2`.
        date: When it was measured.
        seed: Of everything drawn at random.
        rows: See `PriceRow`; by kept bytes.
        left_out: Settings that could not be tried: `label` and `reason`.
        held_out: Whether the queries were documents, taken out of those that were searched among.
        of_documents: Documents there are; more than `documents` when a sample was measured.
        store_version: Version of the index that it was measured on; `None` for a file of vectors.
        chosen: What `choose` named, with the figures of the second sample; `None` before, or when nothing held.
        statements: In words: what the choice rests on and what the sample cannot tell.
        confirmations: For each untouched sample of queries, recall@10 `(rows, queries)`. Not kept in files.
    """

    documents: int
    queries: int
    dim: int
    full_bytes: int
    metric: str
    date: str
    seed: int | None
    rows: list[PriceRow]
    left_out: list[dict[str, str]] = field(default_factory=list)
    held_out: bool = True
    of_documents: int = 0
    store_version: int | None = None
    chosen: dict[str, Any] | None = None
    statements: list[str] = field(default_factory=list)
    confirmations: list[np.ndarray] = field(default_factory=list, repr=False)

    def front(self) -> list[PriceRow]:
        """The rows that are worth a look: each keeps more than every cheaper one."""
        return [row for row in self.rows if row.pareto]

    @property
    def noise(self) -> float:
        """Half the width of a typical interval of recall@10: differences below it are not told apart."""
        widths = [(row.recall_10[2] - row.recall_10[1]) / 2 for row in self.rows if 0.5 <= row.recall_10[0] < 0.9999]
        widths = widths or [(row.recall_10[2] - row.recall_10[1]) / 2 for row in self.rows]
        return round(float(np.median(widths)), 4)

    def choose(self, *, keep: float | None = None, budget: int | float | str | None = None) -> PriceRow | None:
        """The setting to take, confirmed on queries that had no part in choosing it.

        With `keep`: the fewest kept bytes (then the fewest scanned) whose lower bound of recall@10 reaches it. The
        choice is then measured on an untouched sample, and stands when its lower bound reaches `keep` there too; else
        the next cheapest is measured, on the next untouched sample. With `budget`: the largest recall@10 within so
        many kept bytes. With both, both hold.

        Args:
            keep: Recall@10 to hold, above 0 up to 1.
            budget: Bytes a document: a number, or a text such as `"64B"` or `"1kB"`.

        Returns:
            The row, also as `chosen`; `None` when nothing could be confirmed (`statements` say why).

        Raises:
            InvalidValueError: Neither or an impossible argument; a budget below the smallest setting.
            InvalidTypeError: `keep` is no number.
        """
        if keep is None and budget is None:
            raise InvalidValueError("keep, budget: got neither, needs one, as in keep=0.95 or budget='64B'")
        wanted = None if keep is None else checked_keep(keep)
        most = None if budget is None else parse_budget(budget)
        if not self.confirmations:
            raise InvalidValueError(
                "choose: this price list was read from a file, which keeps no untouched queries; measure it again"
            )
        candidates = [number for number, row in enumerate(self.rows) if row.name != "full"]
        if most is not None:
            smallest = min((self.rows[number].kept_bytes for number in candidates), default=self.full_bytes)
            candidates = [number for number in candidates if self.rows[number].kept_bytes <= most]
            if not candidates:
                raise InvalidValueError(
                    f"budget: got {most:g} bytes, but the smallest setting takes {smallest}; give at least {smallest}B"
                )
        self.chosen, self.statements = None, [self._noise_statement()]
        if wanted is None:
            return self._within_budget(candidates)
        return self._cheapest(candidates, wanted)

    def _noise_statement(self) -> str:
        return (
            f"{self.queries} queries: recall@10 is known to about ±{self.noise:.3f}; smaller differences cannot be told"
        )

    def _within_budget(self, candidates: list[int]) -> PriceRow:
        best = max(candidates, key=lambda number: (self.rows[number].recall_10[0], -self.rows[number].kept_bytes))
        self._confirm(best, 0)
        return self.rows[best]

    def _cheapest(self, candidates: list[int], keep: float) -> PriceRow | None:
        def price(number: int) -> tuple[float, ...]:
            row = self.rows[number]
            return (row.kept_bytes, row.bytes, -row.recall_10[0])

        holding = [number for number in sorted(candidates, key=price) if self.rows[number].recall_10[1] >= keep]
        if not holding:
            best = max(candidates, key=lambda number: self.rows[number].recall_10[1])
            row = self.rows[best]
            self.statements.append(
                f"no setting holds recall@10 >= {keep:g} for certain on {self.queries} queries; the nearest is "
                f"{row.full_label} with {_shown(row.recall_10)}. Give more queries, or a lower --keep"
            )
            return None
        for number, sample in zip(holding, range(len(self.confirmations)), strict=False):
            confirmed = self._confirm(number, sample)
            if confirmed[1] >= keep:
                return self.rows[number]
            self.chosen = None
            self.statements.append(
                f"{self.rows[number].full_label} held {keep:g} on the queries it was chosen by, but the untouched ones "
                f"say {_shown(confirmed)}: not confirmed"
            )
        self.statements.append(
            "no untouched queries are left to confirm another setting; give more queries, or a lower --keep"
        )
        return None

    def _confirm(self, number: int, sample: int) -> list[float]:
        row, values = self.rows[number], self.confirmations[sample][number]
        confirmed = interval(values, self.seed)
        told = asdict(row)
        self.chosen = told | {
            "full_label": row.full_label,
            "confirmed": {"recall_10": confirmed, "queries": len(values)},
        }
        return confirmed

    # -- keeping --------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All but the untouched samples, for JSON."""
        told = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("rows", "confirmations")
        }
        if told["chosen"] is None:
            del told["chosen"]
        return told | {"noise": self.noise, "rows": [asdict(row) for row in self.rows]}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, atomically."""
        write_json(path, {"format": "polyvec-prices-1", **self.to_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PriceList:
        """Read what `save` wrote.

        Raises:
            FileProblemError: The file cannot be read.
            FormatError: It is not a price list.
        """
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
            if told.pop("format") != "polyvec-prices-1":
                raise FormatError(f"{os.fspath(path)}: is a price list of another format; measure it again")
            told.pop("noise")
            extra = {name: told[name] for name in set(told) - set(cls.__dataclass_fields__)}
            for name in extra:
                del told[name]
            return cls(**told | {"rows": [PriceRow(**row) for row in told["rows"]]})
        except OSError as error:
            raise file_problem(error, path, "read") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(
                f"{os.fspath(path)}: not a price list ({error}); needs a file that save() wrote"
            ) from error

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a picture (PNG): recall@10 against kept bytes, with intervals and the front."""
        from polyvec.search.prices.picture import draw

        draw(self, path)


def mark_front(rows: Iterable[PriceRow]) -> list[PriceRow]:
    """The rows by kept bytes, those on the front marked."""
    ordered = sorted(rows, key=lambda row: (row.kept_bytes, -row.recall_10[0], row.bytes))
    best = -1.0
    for row in ordered:
        row.pareto = row.recall_10[0] > best
        best = max(best, row.recall_10[0])
    return ordered


def _shown(figures: list[float]) -> str:
    return f"{figures[0]:.3f} ({figures[1]:.3f} to {figures[2]:.3f})"


def checked_keep(keep: float) -> float:
    """A share of recall above 0 and up to 1; raises otherwise."""
    if isinstance(keep, bool) or not isinstance(keep, (int, float, np.number)):
        raise InvalidTypeError(f"keep: got {keep!r}, needs a share such as 0.95")
    if not 0 < keep <= 1:
        raise InvalidValueError(f"keep: got {keep:g}, needs a share of recall@{K} above 0 and at most 1, such as 0.95")
    return float(keep)


def parse_budget(budget: int | float | str) -> float:
    """Bytes a document.

    Raises:
        InvalidValueError: Not a positive number of bytes.
    """
    if isinstance(budget, str):
        found = _BUDGET.fullmatch(budget)
        if found is None:
            raise InvalidValueError(f"budget: got {budget!r}, needs bytes a document, such as 64B or 1kB")
        budget = float(found.group(1)) * _UNITS.get((found.group(2) or "").lower(), 1)
    value = cast(Any, budget)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < float(value) < float("inf"):
        raise InvalidValueError(f"budget: got {budget!r}, needs a positive number of bytes a document, such as 64B")
    return float(value)
