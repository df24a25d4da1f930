"""The health report as text, JSON, page and picture."""

import json
import re
import struct
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from health_testing import gaussian

from polyvec.assess.health import health_report
from polyvec.assess.health.finding import Check, Example, count, percent
from polyvec.assess.health.text import example_text
from polyvec.core.errors import FileProblemError
from polyvec.core.vectors import Vectors

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def report():
    """A report with every status, and names that try to break out of the page."""
    data = gaussian(300, 10)
    data[4] = np.nan
    data[:, 3] = data[:, 2]
    data[20:40] = data[19]
    data[50] = 2 * data[51]
    ids = [f"{SCRIPT}{number}" for number in range(300)]
    texts = [f'text "{number}" {SCRIPT} <img src=x onerror=alert(1)> & more' for number in range(300)]
    return health_report(Vectors(data, ids=ids), texts=texts, name=f"a {SCRIPT} $x$ 中文.npy", show_progress=False)


@pytest.fixture(scope="module")
def content(report):
    return report.to_html()


class Page(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.words.append(data)


def test_page_escapes_names_and_texts(content):
    page = Page(content)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on") and name != "open"]
    shown = "".join(page.words)
    assert f"{SCRIPT}20" in shown  # as text, whole
    assert f'text "50" {SCRIPT} <img src=x onerror=alert(1)> & more' in shown
    assert f"Vector health: a {SCRIPT} $x$ 中文.npy" in shown


def test_page_needs_nothing_from_outside(content):
    page = Page(content)
    assert set(page.tags).isdisjoint({"link", "iframe", "object", "embed", "base", "form", "a", "image", "use-script"})
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith("#"), (tag, name, value)
    style = re.search(r"<style>(.*?)</style>", content, re.DOTALL).group(1)
    assert "@import" not in style
    assert "url(" not in style
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)


def test_page_has_light_and_dark_and_charts_follow(report, content):
    assert "prefers-color-scheme: dark" in content
    assert '<meta name="viewport"' in content
    page = Page(content)
    assert page.tags.count("svg") == len(report.series) == 6
    assert "var(--first)" in content
    assert "#0102" not in content  # no stand-in colour is left
    drawings = re.findall(r"<svg.*?</svg>", content, re.DOTALL)
    assert all('role="img" aria-label="' in drawing for drawing in drawings)
    assert all("var(--muted)" in drawing for drawing in drawings)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in page.attributes if name == "xlink:href"}
    assert targets <= set(ids)
    clips = set(re.findall(r"url\(#([^)]*)\)", content))
    assert clips
    assert clips <= set(ids)


def test_page_shows_every_finding_and_opens_those_that_matter(report, content):
    blocks = re.findall(r"<details( open)?>(.*?)</details>", content, re.DOTALL)
    assert len(blocks) == len(report.findings)
    for (opened, block), finding in zip(blocks, report.findings, strict=True):
        assert bool(opened) == (finding.status in ("bad", "warn"))
        shown = "".join(Page(block).words)
        for part in (finding.name, finding.shown, finding.meaning, finding.threshold, finding.source, finding.advice):
            assert part in shown


def test_page_is_the_same_each_time_and_written_whole(report, content, tmp_path):
    path = tmp_path / "report.html"
    report.save_html(path)
    assert path.read_text(encoding="utf-8") == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileProblemError, match="cannot write"):
        report.save_png(path / "below" / "a-file.png")


def test_picture_is_one_page(report, tmp_path):
    path = tmp_path / "report.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # letters that the font lacks, formulas in names
        report.save_png(path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert (width, height) == (909, 1285)
    report.save_png(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == content


def test_json_is_complete_and_strict(report):
    def refuse(name):
        raise AssertionError(name)

    content = json.loads(report.to_json(), parse_constant=refuse)
    assert content == report.to_dict()
    assert content["status"] == "bad"
    assert content["rows"] == 300
    assert content["examined"] == 299
    assert [finding["key"] for finding in content["findings"]] == [finding.key for finding in report.findings]
    for finding in content["findings"]:
        assert {"name", "value", "shown", "status", "meaning", "threshold", "source", "advice"} <= set(finding)


def test_text_says_what_to_do(report):
    text = str(report)
    assert text.splitlines()[0].endswith(report.headline)
    for finding in report.findings:
        assert f"{finding.status:<12}  {finding.name}" in text
        assert (f"What to do: {finding.advice}" in text) == (finding.status in ("bad", "warn"))
    assert text.index("bad: rows with NaN or infinity") < text.index("warn: exact copies")


def test_text_does_not_steer_the_terminal():
    example = Example(("a\x1b[2Jb",), "note", ("text\x1b]0;title\x07", "naïve 中文"))
    assert example_text(example) == "a [2Jb (note): text ]0;title  | naïve 中文"


def test_headline_counts_every_status(report):
    counted = {status: len(report.of_status(status)) for status in ("bad", "warn", "ok", "not computed")}
    assert sum(counted.values()) == len(report.findings) == 16
    assert report.headline.startswith("300 vectors of 10 dimensions: ")
    for status, number in counted.items():
        assert (f"{number} {status}" in report.headline) == bool(number)
    assert health_report(gaussian(1, 1), show_progress=False).headline.startswith("1 vector of 1 dimension: ")


def test_the_guide_tells_every_check_with_its_thresholds(report):
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "inspect.md").read_text(encoding="utf-8")
    for finding in report.findings:
        assert f"| {finding.name} | `{finding.key}` | {finding.threshold} |" in guide


def test_thresholds_in_words_and_at_the_limit():
    check = Check("key", "name", "meaning", "advice", "source", warn=0.1, bad=0.5, percent=True, of="of rows")
    assert check.threshold == "warn above 10%, bad above 50% (of rows)"
    assert [check.judge(value) for value in (0.0, 0.1, 0.11, 0.5, 0.51)] == ["ok", "ok", "warn", "warn", "bad"]
    low = Check("key", "name", "meaning", "advice", "source", warn=3.0, bad=1.0, below=True)
    assert low.threshold == "warn below 3, bad below 1"
    assert [low.judge(value) for value in (4.0, 3.0, 2.9, 1.0, 0.9)] == ["ok", "ok", "warn", "warn", "bad"]
    assert Check("key", "name", "meaning", "advice", "source", warn=0.0, bad=0.0).threshold == "bad above 0"


def test_numbers_in_words():
    assert [percent(share) for share in (0, 0.00012, 0.034, 0.0999, 0.5, 1)] == [
        "0%", "0.012%", "3.4%", "10.0%", "50.0%", "100.0%",
    ]  # fmt: skip
    assert (count(1, "row"), count(2000, "row"), count(2, "copy", "copies")) == ("1 row", "2,000 rows", "2 copies")
