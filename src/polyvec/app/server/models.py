"""What the API takes and gives, as pydantic models; the OpenAPI schema is written from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from polyvec.app.server.limits import MAX_DELETED, MAX_DOCUMENTS, MAX_ID

Scalar = str | int | float | bool | None
Span = tuple[int, int]
Status = Literal["none", "computing", "ready", "failed"]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]


class Alive(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Info(BaseModel):
    """What is served, and how it may be asked."""

    name: str
    documents: int
    dim: int
    metric: str
    encoder: dict[str, Any] | None = Field(description="Fingerprint of the encoder; null when vectors were given.")
    columns: dict[str, str] = Field(description="Names for filters with their types: text, int, float, bool.")
    read_only: bool
    version: int = Field(description="Number of the index's version; each commit counts.")
    polyvec_version: str
    bytes: int | None = Field(description="Bytes of all files; null on object storage.")
    modes: list[Literal["dense", "keyword", "hybrid"]]
    token_required: bool


class FacetValue(BaseModel):
    """A value and how many documents have it."""

    value: str | bool
    count: int


class ValueFacets(BaseModel):
    """The most frequent values of a column of texts or truth values."""

    column: str
    kind: Literal["text", "bool"]
    values: list[FacetValue]
    other: int = Field(description="Documents with a value that is not listed.")
    missing: int = Field(description="Documents without a value.")


class RangeFacets(BaseModel):
    """The range of a column of numbers."""

    column: str
    kind: Literal["int", "float"]
    min: int | float | None
    max: int | float | None
    missing: int = Field(description="Documents without a value that is a number.")


class FoundDocument(BaseModel):
    """One hit. Offsets count characters (code points)."""

    rank: int
    id: str
    score: float
    title: str | None
    snippet: str
    highlights: list[Span] = Field(description="Where the query's words stand in the snippet.")
    title_highlights: list[Span]
    source: str
    metadata: dict[str, Scalar]
    point: int | None = Field(description="Its number in the map, when there is one.")


class Found(BaseModel):
    """Hits, best first."""

    query: str | None
    mode: Literal["dense", "keyword", "hybrid"]
    took_ms: float
    hits: list[FoundDocument]


class FullDocument(BaseModel):
    """A document as it was given."""

    id: str
    title: str | None
    text: str
    source: str
    metadata: dict[str, Scalar]
    point: int | None


class NewDocument(BaseModel):
    """A document to keep."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    text: str
    title: str | None = None
    source: str = ""
    metadata: dict[str, Scalar] = Field(default_factory=dict)


class NewDocuments(BaseModel):
    """Documents to keep, written in one commit."""

    model_config = ConfigDict(extra="forbid")

    documents: list[NewDocument] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    on_conflict: Literal["error", "replace", "skip"] = Field("error", description="When an id is there already.")


class Written(BaseModel):
    """How many documents were written. They are on the disk when this is answered."""

    written: int


class OldDocuments(BaseModel):
    """Documents to drop, in one commit."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Id] = Field(min_length=1, max_length=MAX_DELETED)
    missing: Literal["error", "ignore"] = Field("error", description="When an id is not there.")


class Deleted(BaseModel):
    """How many documents were deleted."""

    deleted: int


class Derived(BaseModel):
    """The state of something that is computed in the background, once for each version of the index."""

    status: Status
    progress: float | None = Field(None, description="From 0 to 1; null when it cannot be told.")
    message: str | None = Field(None, description="Why it failed.")


class Health(Derived):
    """The health report, when it is ready."""

    report: dict[str, Any] | None = None


class Prices(Derived):
    """The price list, when it is ready."""

    prices: dict[str, Any] | None = None


class MapCluster(BaseModel):
    """A group of documents that lie together; `x`, `y` is where its name belongs."""

    number: int
    label: str
    words: list[str]
    count: int
    x: float
    y: float


class MapSummary(BaseModel):
    """The map without its points."""

    count: int
    method: str
    clusters: list[MapCluster]
    x: tuple[float, float] = Field(description="Smallest and largest.")
    y: tuple[float, float]


class Map(Derived):
    """The map, when it is ready."""

    map: MapSummary | None = None


class MapPoint(BaseModel):
    """The document behind a point."""

    index: int
    id: str
    title: str | None
    snippet: str
    cluster: int | None = Field(description="Number of its cluster, if it belongs to one.")


class SystemEntry(BaseModel):
    """A research system in a list."""

    slug: str
    title: str
    full_title: str
    year: int
    place: str
    status: str
    verdict: str | None
    score: float | None = Field(None, description="Similarity to the query.")


class Systems(BaseModel):
    """The research systems, by name or by similarity to the query."""

    systems: list[SystemEntry]


class SystemDetails(BaseModel):
    """All that is known of a research system."""

    slug: str
    title: str
    full_title: str
    year: int
    venue: str
    source: str
    room: str
    place: str
    status: str
    keywords: list[str]
    description: str
    claims: list[str]
    api: list[str]
    verdict: str | None
    report: dict[str, Any] | None = Field(description="The committed result; null when it was not measured yet.")
    plot: str | None
    python: list[str] = Field(description="Lines to begin with.")
    command: str
