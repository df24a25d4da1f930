"""Checks the content of core/systems.toml: complete, typed, sorted, and worded independently for each system."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from importlib import resources
from typing import Any

import pytest

ROOMS = ("generate", "scale", "combine", "assess", "search", "compress", "train", "encode", "nn")
STATUSES = ("working", "planned")
TEXT_FIELDS = ("slug", "title", "full_title", "venue", "source", "room", "place", "status", "description")
LIST_FIELDS = ("keywords", "claims", "api")
FIELDS = {*TEXT_FIELDS, *LIST_FIELDS, "year"}
MAY_BE_EMPTY = {"venue"}
SHINGLE_LENGTH = 10
API_NAME = re.compile(r"polyvec\.(?P<room>[a-z]+)(\.[a-z_]+)*\.[A-Za-z_][A-Za-z0-9_]*")


def load_systems() -> list[dict[str, Any]]:
    text = resources.files("polyvec.core").joinpath("systems.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["system"]


SYSTEMS = load_systems()
each_system = pytest.mark.parametrize("system", SYSTEMS, ids=[str(system.get("slug")) for system in SYSTEMS])


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def shingles(text: str, length: int = SHINGLE_LENGTH) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def test_there_are_65_systems_with_unique_sorted_slugs() -> None:
    slugs = [system["slug"] for system in SYSTEMS]
    assert len(slugs) == 65
    assert len(set(slugs)) == 65
    assert slugs == sorted(slugs)


def test_titles_are_unique() -> None:
    for field in ("title", "full_title", "description"):
        values = [system[field] for system in SYSTEMS]
        assert len(set(values)) == len(values), field


@each_system
def test_fields_are_present_and_typed(system: dict[str, Any]) -> None:
    assert set(system) == FIELDS
    assert type(system["year"]) is int
    for field in TEXT_FIELDS:
        assert isinstance(system[field], str), field
        assert system[field] == system[field].strip(), field
        assert system[field] or field in MAY_BE_EMPTY, field
    for field in LIST_FIELDS:
        assert isinstance(system[field], list), field
        assert all(isinstance(value, str) and value.strip() == value != "" for value in system[field]), field
        assert len(set(system[field])) == len(system[field]), field


@each_system
def test_slug_year_and_status_are_valid(system: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", system["slug"])
    assert 2000 <= system["year"] <= 2026
    assert system["status"] in STATUSES
    years_in_venue = {int(year) for year in re.findall(r"\b(?:19|20)\d\d\b", system["venue"])}
    assert not years_in_venue or system["year"] in years_in_venue


@each_system
def test_source_is_an_identifier_or_a_venue(system: dict[str, Any]) -> None:
    source = system["source"]
    if source.startswith("arXiv"):
        assert re.fullmatch(r"arXiv \d{4}\.\d{4,5}", source)
    elif source.startswith("doi"):
        assert re.fullmatch(r"doi 10\.\d{4,9}/\S+", source)
    else:
        assert system["venue"], "without an arXiv or DOI identifier the venue must be known"


@each_system
def test_room_and_place_agree(system: dict[str, Any]) -> None:
    assert system["room"] in ROOMS
    assert re.fullmatch(r"[a-z]+/[a-z_]+", system["place"])
    assert system["place"].split("/")[0] == system["room"]


@each_system
def test_keywords_claims_and_api_have_a_sensible_length(system: dict[str, Any]) -> None:
    assert 3 <= len(system["keywords"]) <= 8
    assert 2 <= len(system["claims"]) <= 5
    assert 1 <= len(system["api"]) <= 4
    for claim in system["claims"]:
        assert claim.endswith("."), claim
        assert len(words(claim)) <= 45, claim


@each_system
def test_description_is_one_paragraph_of_60_to_120_words(system: dict[str, Any]) -> None:
    description = system["description"]
    assert 60 <= len(description.split()) <= 120
    assert "\n" not in description
    assert "  " not in description
    assert description.endswith(".")
    assert "this paper" not in description.lower()


@each_system
def test_api_names_belong_to_rooms_and_not_to_a_folder_of_the_slug(system: dict[str, Any]) -> None:
    matches = [API_NAME.fullmatch(name) for name in system["api"]]
    assert all(match is not None and match["room"] in ROOMS for match in matches)
    assert system["room"] in {match["room"] for match in matches if match is not None}
    folder = system["slug"].replace("-", "_")
    assert all(folder not in name.split(".")[1:-1] for name in system["api"])


def test_no_two_descriptions_share_ten_words_in_a_row() -> None:
    owners: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for system in SYSTEMS:
        for shingle in shingles(system["description"]):
            owners[shingle].append(system["slug"])
    shared = {" ".join(shingle): slugs for shingle, slugs in owners.items() if len(slugs) > 1}
    assert shared == {}
