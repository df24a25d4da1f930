"""The committed page is the one that its sources make, small, and shipped with the package."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PAGE = ROOT / "src" / "polyvec" / "app" / "web"
SOURCES = (
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "scripts",
    "src",
    "public",
)


def checksum_of(folder, paths):
    """As in web/scripts/build.mjs: the checksum of a list of checksums and names."""
    names = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files_in(path):
    return [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]


@pytest.fixture(scope="module")
def sealed():
    return json.loads((PAGE / "build.json").read_text())


def test_the_page_was_built_from_these_sources(sealed):
    if not WEB.exists():
        pytest.skip("the sources of the page are not part of this copy")
    sources = checksum_of(WEB, [path for name in SOURCES for path in files_in(WEB / name)])
    assert sealed["sources"] == sources, "web/ has changed since the last build; run: cd web && npm ci && npm run build"


def test_nothing_was_changed_after_the_build(sealed):
    assets = [path for path in files_in(PAGE) if path.name != "build.json"]
    assert sealed["assets"] == checksum_of(PAGE, assets)
    assert sealed["bytes"] == sum(path.stat().st_size for path in assets) < 1_000_000


def test_the_page_is_in_the_package_and_complete():
    page = files("polyvec.app") / "web"
    index = (page / "index.html").read_text()
    named = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', index)
    assert len(named) >= 3
    for name in named:
        assert (page / name).is_file(), name
    assert re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", index) is None, (
        "the policy forbids inline code"
    )


def test_the_page_compiles_no_text_and_names_no_other_site():
    code = "".join(path.read_text() for path in files_in(PAGE) if path.suffix in (".js", ".css"))
    assert re.search(r"\beval\(|\bFunction\(|Function\.apply", code) is None
    assert set(re.findall(r"https?://[^\"'`\s)\\/]+", code)) <= {"http://www.w3.org"}  # names of XML languages


def test_the_sources_never_make_html_from_text():
    if not WEB.exists():
        pytest.skip("the sources of the page are not part of this copy")
    sources = [path for path in files_in(WEB / "src") if path.suffix in (".ts", ".tsx")]
    assert len(sources) > 20
    for path in sources:
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser", path.read_text())
        assert found is None, f"{path.name}: {found and found.group()}"


def test_the_lock_file_names_no_registry():
    lock = json.loads((WEB / "package-lock.json").read_text()) if WEB.exists() else pytest.skip("no sources here")
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    assert not any("resolved" in entry for entry in packages)
    assert all(entry.get("integrity", "").startswith("sha512-") for entry in packages)
