"""Runs reproductions: seed by seed, resumable, into `results/<slug>/<scale>.json` and `.png`."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from polyvec.core.errors import FormatError, InvalidValueError, NotFoundError
from polyvec.core.files import atomic_path, cache_directory
from polyvec.core.progress import progress
from polyvec.core.registry import system, systems
from polyvec.reproduce.base import SCALES, Reproduction, Run
from polyvec.reproduce.report import Report, judge

logger = logging.getLogger("polyvec.reproduce")
_PACKAGES = (
    "numpy", "scipy", "torch", "scikit-learn", "sentence-transformers", "transformers", "openvino", "lancedb",
    "pyarrow", "faiss-cpu", "gensim", "networkx", "numba",
)  # fmt: skip


def module_name(slug: str) -> str:
    """The module of a system's reproduction."""
    return f"polyvec.reproduce.{slug.replace('-', '_')}"


def reproducible() -> list[str]:
    """Slugs of the systems that can be reproduced, sorted."""
    return [entry.slug for entry in systems() if find_spec(module_name(entry.slug)) is not None]


def reproduction(slug: str) -> Reproduction:
    """The reproduction of a system.

    Raises:
        NotFoundError: No such system, or it is planned and has no reproduction yet.
    """
    entry = system(slug)
    if find_spec(module_name(entry.slug)) is None:
        ready = ", ".join(reproducible())
        raise NotFoundError(f"{entry.slug} is {entry.status} and has no reproduction yet; ready: {ready}")
    return importlib.import_module(module_name(entry.slug)).REPRODUCTION


def environment() -> dict[str, str]:
    """Versions of Python, polyvec and the packages that figures depend on, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for package in ("polyvec", *_PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, str | int]:
    """What the run ran on: processor, usable cores, memory in GiB, accelerator."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    details: dict[str, str | int] = {"platform": platform.system(), "processor": model, "cores": cores}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        details["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    details["accelerator"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return details


def _partial_path(plan: Reproduction, scale: str, seed: int) -> Path:
    """Where a finished seed is kept: the name changes with the code, the settings and the versions."""
    source = Path(importlib.import_module(module_name(plan.slug)).__file__ or "").read_bytes()
    key = json.dumps([dict(plan.settings[scale]), environment()], sort_keys=True, default=str).encode()
    digest = hashlib.sha256(source + key).hexdigest()[:16]
    return cache_directory("reproduce", plan.slug, f"{scale}-{seed}-{digest}.json")


def run_reproduction(
    slug: str,
    scale: str = "small",
    *,
    seeds: Sequence[int] | None = None,
    to: str | os.PathLike[str] | None = "results",
    resume: bool = True,
    show_progress: bool | None = None,
) -> Report:
    """Measure a system's claims beside its baselines.

    Args:
        slug: The system.
        scale: `smoke` (seconds), `small` (minutes on 2 cores, three seeds) or `full` (a GPU or a cluster).
        seeds: Other seeds than the scale's; the result is then not written over the official one but to
            `<scale>-seeds-<...>.json`.
        to: Folder of the results, or `None` to write nothing. The report goes to `<to>/<slug>/<scale>.json`, the
            plot beside it.
        resume: Whether seeds that an interrupted run finished (same code, settings, versions) are taken over.
        show_progress: `None` shows a bar on a terminal.

    Raises:
        NotFoundError: No such system or no reproduction.
        InvalidValueError: Unknown scale.
    """
    if scale not in SCALES:
        raise InvalidValueError(f"scale: got {scale!r}, needs one of {', '.join(SCALES)}")
    plan = reproduction(slug)
    if scale not in plan.settings:
        raise InvalidValueError(f"scale: {plan.slug} has no {scale!r} run; it has {', '.join(plan.settings)}")
    settings = plan.settings[scale]
    official = tuple(plan.seeds[scale])
    chosen = list(dict.fromkeys(official if seeds is None else seeds))
    if not chosen:
        raise InvalidValueError("seeds: got none, needs at least one")
    report = Report(
        slug=plan.slug,
        scale=scale,
        seeds=chosen,
        settings=dict(settings),
        versions=environment(),
        machine=machine(),
        notes=list(plan.deviations),
        date=datetime.now(UTC).date().isoformat(),
    )
    with progress(f"{plan.slug} ({scale})", len(chosen), show=show_progress) as bar:
        for seed in chosen:
            kept = _partial_path(plan, scale, seed)
            part = _resumed(kept) if resume else None
            if part is None:
                part = Report(slug=plan.slug, scale=scale, seeds=[seed])
                started = time.perf_counter()
                plan.run(Run(part, seed, scale, show_progress), settings)
                part.wall_seconds = round(time.perf_counter() - started, 1)
                if to is not None:
                    part.save(kept)
            else:
                logger.info("%s %s: seed %s was finished before", plan.slug, scale, seed)
            report.rows.extend(part.rows)
            report.data.update(part.data)
            report.notes.extend(note for note in part.notes if note not in report.notes)
            report.wall_seconds = round(report.wall_seconds + part.wall_seconds, 1)
            bar.advance()
    report.verdicts = [judge(claim, report) for claim in plan.claims]
    if to is not None:
        name = scale if tuple(chosen) == official else f"{scale}-seeds-{'-'.join(map(str, chosen))}"
        folder = Path(to) / plan.slug
        report.save(folder / f"{name}.json")
        save_plot(plan, report, folder / f"{name}.png")
        for seed in chosen:
            _partial_path(plan, scale, seed).unlink(missing_ok=True)
    return report


def _resumed(path: Path) -> Report | None:
    if not path.exists():
        return None
    try:
        return Report.load(path)
    except FormatError:  # written by another version of the frame
        return None


def save_plot(plan: Reproduction, report: Report, path: str | os.PathLike[str]) -> None:
    """Draw the report as PNG, atomically, without touching matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    plan.plot(report, figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def committed_results() -> Path | None:
    """Folder of the results that came with this installation: in the wheel, or at the root of a checkout."""
    here = Path(__file__).parent
    for folder in (here / "committed_results", here.parents[2] / "results"):
        if folder.is_dir():
            return folder
    return None


def committed_report(slug: str, scale: str = "small") -> Report | None:
    """The committed report of a system, or `None`."""
    folder = committed_results()
    path = folder / slug / f"{scale}.json" if folder else None
    return Report.load(path) if path and path.exists() else None
