"""Writes the tables of docs/guide/sizing.md from the committed benchmarks; `--print` shows them for other prices.

    python docs/sizing.py                                                    # after a benchmark was run again
    python docs/sizing.py --print --core-hour 0.03 --gigabyte-month 0.02 --documents 5e6

A test fails while the page is out of date. Prices are assumptions with a date, not measurements.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/guide/sizing.md"
SIZES = (1_000_000, 100_000_000, 10_000_000_000)
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What a reader pays; replace them by your own."""

    core_hour: float = 0.04
    gigabyte_month: float = 0.023
    currency: str = "USD"
    assumed: str = "2026-11"


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures that everything else follows from."""

    texts_per_core_second: float
    tokens: float
    dim: int
    bytes_beside_vector: float
    write_seconds: float
    index_seconds: float
    exact_base_ms: float
    exact_ms_per_million: float
    indexed_ms: float
    largest: int

    @classmethod
    def read(cls, folder: Path = ROOT / "results/benchmarks") -> Measured:
        """From `encode_text.json` and `store_search.json`."""
        encoding = json.loads((folder / "encode_text.json").read_text(encoding="utf-8"))
        search = json.loads((folder / "store_search.json").read_text(encoding="utf-8"))
        ours = encoding["methods"]["polyvec"]
        debian, sizes = search["debian"], sorted(search["sizes"], key=lambda row: row["vectors"])
        vectors = [row["vectors"] for row in sizes]
        base, slope = line(vectors, [row["in memory, median ms"] for row in sizes])
        build = line(vectors, [row["index seconds"] for row in sizes])[1]
        return cls(
            texts_per_core_second=encoding["texts"] / (sum(ours["processor seconds"]) / len(ours["processor seconds"])),
            tokens=encoding["tokens"]["mean"],
            dim=debian["dim"],
            bytes_beside_vector=debian["bytes on disk a document"] - 4 * debian["dim"],
            write_seconds=1 / debian["writing, documents a second"]["index_sources, vectors at hand"],
            index_seconds=build,
            exact_base_ms=base,
            exact_ms_per_million=slope * 1e6,
            indexed_ms=sizes[-1]["with the index, median ms"],
            largest=vectors[-1],
        )


def line(places: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Constant and slope of the least squares line."""
    count = len(places)
    middle, level = sum(places) / count, sum(values) / count
    spread = sum((place - middle) ** 2 for place in places)
    slope = sum((place - middle) * (value - level) for place, value in zip(places, values, strict=True)) / spread
    return level - slope * middle, slope


def codes(dim: int) -> dict[str, float]:
    """Bytes of one vector, by how it is kept."""
    return {"float32": 4 * dim, "float16": 2 * dim, "8 bits a dimension": dim, "1 bit a dimension": dim / 8}


def estimate(count: float, measured: Measured, prices: Prices) -> dict[str, float]:
    """Everything about one size, in hours, gigabytes and money."""
    core_hours = count / measured.texts_per_core_second / HOUR
    writing = count * (measured.write_seconds + measured.index_seconds) / HOUR
    gigabytes = count * (measured.bytes_beside_vector + 4 * measured.dim) / 1e9
    smallest = count * (measured.bytes_beside_vector + measured.dim / 8) / 1e9
    return {
        "encoding, core hours": core_hours,
        "encoding, price": core_hours * prices.core_hour,
        "writing and index, hours": writing,
        "gigabytes": gigabytes,
        "gigabytes, 1 bit a dimension": smallest,
        "a month, price": gigabytes * prices.gigabyte_month,
        "vectors in memory, gigabytes": count * 4 * measured.dim / 1e9,
        "codes in memory, gigabytes": count * measured.dim / 8 / 1e9,
        "exact search, s": (measured.exact_base_ms + measured.exact_ms_per_million * count / 1e6) / 1e3,
    }


def short(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def span(hours: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60)):
        if hours >= 2 * length:
            return f"{short(hours / length)} {unit}"
    return f"{short(hours * HOUR)} s"


def tables(measured: Measured, prices: Prices, sizes: Sequence[float] = SIZES) -> str:
    """The generated part of the page."""
    rows = [estimate(size, measured, prices) for size in sizes]
    names = [f"{size:,.0f}" for size in sizes]

    def row(label: str, cells: Sequence[str]) -> str:
        return f"| {label} | {' | '.join(cells)} |"

    def of(key: str, shown: Any = short) -> list[str]:
        return [shown(one[key]) for one in rows]

    def on(cores: int) -> list[str]:
        return [span(one["encoding, core hours"] / cores) for one in rows]

    money = prices.currency
    facts = [
        ("Texts encoded a second by one core", short(measured.texts_per_core_second), "`encode_text.json`"),
        ("Tokens of a text, mean", short(measured.tokens), "`encode_text.json`"),
        ("Dimensions of a vector", str(measured.dim), "`store_search.json`"),
        ("Bytes beside the vector (text, metadata, keyword index)", short(measured.bytes_beside_vector), "the same"),
        ("Writing one document, ms", short(measured.write_seconds * 1e3), "the same"),
        ("Vector index, µs a vector", short(measured.index_seconds * 1e6), "the same, slope over sizes"),
        (
            "Exact query, ms for each million vectors",
            short(measured.exact_ms_per_million),
            "the same, slope over sizes",
        ),
        (f"Query with the vector index at {measured.largest:,} vectors, ms", short(measured.indexed_ms), "the same"),
    ]
    lines = ["| Measured | Value | From |", "|---|---|---|"]
    lines += [f"| {label} | {value} | {source} |" for label, value, source in facts]
    lines += ["", row("Documents", names), "|---|" + "---|" * len(sizes)]
    lines += [
        row("Encoding, core hours", of("encoding, core hours")),
        row("Encoding on 16 cores", on(16)),
        row("Encoding on 1,000 cores (`--engine ray`)", on(1000)),
        row(f"Encoding, {money}", of("encoding, price")),
        row("Writing and vector index, one writer", of("writing and index, hours", span)),
        row("Index, GB", of("gigabytes")),
        row("Index with vectors of 1 bit a dimension, GB", of("gigabytes, 1 bit a dimension")),
        row(f"Keeping it a month, {money}", of("a month, price")),
        row("All vectors in memory, GB", of("vectors in memory, gigabytes")),
        row("Their codes of 1 bit a dimension, GB", of("codes in memory, gigabytes")),
        row("Exact search, one query on one core, s", of("exact search, s")),
    ]
    lines += ["", "| One vector kept as | Bytes | Share of the document's bytes |", "|---|---|---|"]
    for name, size in codes(measured.dim).items():
        share = size / (size + measured.bytes_beside_vector)
        lines.append(f"| {name} | {size:,.0f} | {share:.0%} |")
    lines += [
        "",
        f"Prices assumed ({prices.assumed}): {prices.core_hour:g} {money} a core hour, "
        f"{prices.gigabyte_month:g} {money} a gigabyte and month.",
    ]
    return "\n".join(lines)


def updated(text: str, measured: Measured | None = None, prices: Prices | None = None) -> str:
    """The page with its tables written anew."""
    block = tables(measured or Measured.read(), prices or Prices())
    return re.sub(
        r"<!-- sizing:start -->.*<!-- sizing:end -->",
        lambda _: f"<!-- sizing:start -->\n{block}\n<!-- sizing:end -->",
        text,
        flags=re.DOTALL,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, or print the tables."""
    defaults = Prices()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="shown", help="print instead of writing the page")
    parser.add_argument("--core-hour", type=float, default=defaults.core_hour)
    parser.add_argument("--gigabyte-month", type=float, default=defaults.gigabyte_month)
    parser.add_argument("--currency", default=defaults.currency)
    parser.add_argument("--documents", type=float, nargs="+", default=list(SIZES))
    options: Mapping[str, Any] = vars(parser.parse_args(arguments))
    if not options["shown"]:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    prices = Prices(options["core_hour"], options["gigabyte_month"], options["currency"], "given")
    print(tables(Measured.read(), prices, options["documents"]))  # noqa: T201


if __name__ == "__main__":
    main()
