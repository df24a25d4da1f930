"""merge."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyvec.app.console import note, out, print_json, print_table
from polyvec.app.options import Json, Quiet

if TYPE_CHECKING:
    from polyvec.combine.merging import MergeReport


class Method(StrEnum):
    """How to merge."""

    average = "average"
    task_arithmetic = "task-arithmetic"
    slerp = "slerp"
    ties = "ties"
    dare = "dare"
    fisher = "fisher"
    regmean = "regmean"
    self_positioning = "self-positioning"


_OWN = {  # options that only some methods have
    "density": ("ties",),
    "drop": ("dare",),
    "shrink": ("regmean",),
    "seed": ("dare", "fisher", "regmean", "self-positioning"),
    "weights": ("average", "task-arithmetic", "slerp", "ties", "dare", "fisher", "regmean"),
    "scale": ("average", "task-arithmetic", "slerp", "ties", "dare", "fisher", "regmean"),
    "probe": ("fisher", "regmean", "self-positioning"),
    "columns": ("fisher", "regmean", "self-positioning"),
    "batch_size": ("fisher", "regmean", "self-positioning"),
    "steps": ("fisher", "regmean", "self-positioning"),
    "temperature": ("fisher", "self-positioning"),
    "lr": ("self-positioning",),
    "mu": ("self-positioning",),
    "fixed_temperature": ("self-positioning",),
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(merge)


def merge(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="The model they were trained from: folder or .safetensors file.")
    ],
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models trained from it: folders or files.")],
    to: Annotated[Path, typer.Option("--to", help="Folder (or file, as BASE is) of the merged model.")],
    method: Annotated[Method, typer.Option(help="How to merge.")] = Method.average,
    weights: Annotated[
        str | None, typer.Option("--weights", help="One number for each model, with commas: 1,0.5")
    ] = None,
    scale: Annotated[float | None, typer.Option("--scale", help="Multiplies the merged difference. Default 1.")] = None,
    density: Annotated[
        float | None, typer.Option("--density", help="ties: share of the numbers to keep. Default 0.2.")
    ] = None,
    drop: Annotated[
        float | None, typer.Option("--drop", help="dare: probability of dropping a number. Default 0.5.")
    ] = None,
    shrink: Annotated[
        float | None, typer.Option("--shrink", help="regmean: factor of off-diagonal numbers. Default 0.9.")
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            "--probe",
            help="Table of text pairs (CSV, JSON lines, Parquet ...). self-positioning: one a task, repeatable; "
            "fisher, regmean: one a model, in their order.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="The two columns of the pairs: anchor,positive")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Batches of examples. Default 300.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2, help="Pairs a batch. Default 64.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="self-positioning: step size. Default 0.01.")] = None,
    mu: Annotated[
        float | None, typer.Option("--mu", help="self-positioning: penalty on the length. Default 0.01.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of the contrastive loss. Default 0.05.")
    ] = None,
    fixed_temperature: Annotated[
        bool, typer.Option("--fixed-temperature", help="self-positioning: do not learn a temperature for each task.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="For what is drawn at random. Default 0.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Merge models that were trained from one base into one model of the same kind."""
    from polyvec.combine.merging import merge_files

    given: dict[str, Any] = {
        "weights": _numbers(weights),
        "scale": scale,
        "density": density,
        "drop": drop,
        "shrink": shrink,
        "probe": probe or None,
        "columns": _columns(columns),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "mu": mu,
        "temperature": temperature,
        "fixed_temperature": fixed_temperature or None,
        "seed": seed,
    }
    options = {name: value for name, value in given.items() if value is not None}
    _check_options(method, options)
    show = False if quiet or json else None
    chosen: Any = method.value
    if method.value in _OWN["probe"]:
        chosen, options = _learned(method.value, base, models, options, show), {}
    report = merge_files(base, models, to, chosen, overwrite=overwrite, show_progress=show, **options)
    if json:
        print_json(report.to_dict())
    elif not quiet:
        _print(report)


def _learned(method: str, base: str, models: list[str], options: dict[str, Any], show: bool | None) -> Any:
    from polyvec.combine.merging.text_models import learned_method, read_pairs
    from polyvec.core.errors import InvalidValueError

    files = options.pop("probe", None)
    if not files:
        needs = "a file of text pairs for each task" if method == "self-positioning" else "one for each model"
        raise InvalidValueError(f"--method {method}: needs --probe, {needs}")
    columns = options.pop("columns", None)
    if options.pop("fixed_temperature", False):
        options["learn_temperature"] = False
    probes = {file: read_pairs(file, columns) for file in files}
    return learned_method(method, base, models, probes, show_progress=show, **options)


def _check_options(method: Method, options: dict[str, Any]) -> None:
    from polyvec.core.errors import InvalidValueError

    for name in options:
        if method.value not in _OWN[name]:
            option = f"--{name.replace('_', '-')}"
            raise InvalidValueError(f"{option}: --method {method.value} has no use for it; it is for {_listed(name)}")


def _listed(name: str) -> str:
    return ", ".join(_OWN[name])


def _numbers(text: str | None) -> list[float] | None:
    from polyvec.core.errors import InvalidValueError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidValueError(f"--weights: got {text!r}, needs numbers with commas between them: 1,0.5") from None


def _columns(text: str | None) -> tuple[str, str] | None:
    from polyvec.core.errors import InvalidValueError

    if text is None:
        return None
    first, comma, second = (part.strip() for part in text.partition(","))
    if not (first and comma and second):
        raise InvalidValueError(f"--columns: got {text!r}, needs two names with a comma between them: anchor,positive")
    return first, second


def _print(report: MergeReport) -> None:
    numbers = report.options.get("coefficients")
    rows = []
    for position, (model, norm) in enumerate(zip(report.models, report.norms, strict=True)):
        weight = report.options["weights"][position]
        row = [model, f"{weight:.4g}", f"{norm:.4g}"]
        if numbers is not None:
            row.append(f"{report.options['scale'] * numbers[position]:.4g}")
        rows.append(row)
    columns = ["model", "weight", "distance from base"]
    print_table(columns if numbers is None else [*columns, "multiplied by"], rows)
    out().print(
        f"{report.method}: {report.weights} weights ({report.numbers:,} numbers) of {len(report.models)} models merged "
        f"into {report.path} in {report.seconds:.1f} s; distance from base {report.merged_norm:.4g}",
        markup=False,
    )
    for warning in report.warnings:
        note(warning)
