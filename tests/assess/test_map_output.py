"""Maps as pictures and pages, their colours, and the names of their groups."""

import base64
import hashlib
import itertools
import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvec.assess.map import NO_CLUSTER, Cluster, EmbeddingMap
from polyvec.assess.map.naming import cluster_words, labels_of
from polyvec.assess.map.palette import THEMES, cluster_hues, coloring
from polyvec.assess.map.picture import draw
from polyvec.core.errors import InvalidTypeError, InvalidValueError

EVIL = "</script><script>alert(1)</script> $x_1$ & <b>"


def made(count=400, groups=9, titles=True, labels=None, name=EVIL):
    """A map of groups on a ring, some rows in none."""
    generator = np.random.default_rng(0)
    clusters = generator.integers(0, groups, count).astype(np.uint16)
    angle = clusters / groups * 2 * np.pi
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.8 + generator.normal(size=(count, 2)) * 0.06
    clusters[:20] = NO_CLUSTER
    names = []
    for number in range(groups):
        x, y = np.median(points[clusters == number], axis=0)
        size = int((clusters == number).sum())
        names.append(Cluster(number, f"first word {number}, another", ("first", "another"), size, float(x), float(y)))
    return EmbeddingMap(
        ids=tuple(f"id{row}" for row in range(count)),
        points=points.astype(np.float32),
        clusters=clusters,
        names=tuple(names),
        method="umap",
        titles=tuple(f"{EVIL} {row}" for row in range(count)) if titles else None,
        labels=labels,
        label_name=EVIL if labels is not None else "",
        name=name,
        encoder="MiniLM",
    )


# -- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_png(theme, tmp_path):
    path = tmp_path / "map.png"
    made().save_png(path, theme=theme, size=(640, 480))
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (640, 480)
    made().save_png(tmp_path / "again.png", theme=theme, size=(640, 480))
    assert (tmp_path / "again.png").read_bytes() == content


def test_names_do_not_cover_each_other_nor_leave_the_picture():
    crowded = made(groups=30)
    figure = draw(crowded, THEMES["light"], 900, 700, rasterized=True)
    renderer = figure.canvas.get_renderer()
    names = [text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_zorder() == 5]
    assert 5 < len(names) < 31
    assert not [pair for pair in itertools.combinations(names, 2) if pair[0].overlaps(pair[1])]
    for box in names:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 900 and box.y1 <= 700  # noqa: PT018 - one condition
    title = figure.texts[0].get_window_extent(renderer)
    assert not [box for box in names if box.overlaps(title)]


def test_svg_keeps_names_as_text_and_many_points_as_one_image(tmp_path):
    path = tmp_path / "map.svg"
    made().save_svg(path)
    content = path.read_text()
    assert "first word 3," in content
    assert "<image" not in content
    assert "&lt;/script&gt;" in content
    assert "<script" not in content
    made(count=6000).save_svg(path)
    content = path.read_text()
    assert "<image" in content
    assert "first word 3," in content
    assert len(content) < 1_500_000


@pytest.mark.usefixtures("own_messages")
def test_bad_options_of_pictures(tmp_path):
    path = tmp_path / "map.png"
    with pytest.raises(InvalidValueError, match="theme: got 'blue', needs one of light, dark"):
        made().save_png(path, theme="blue")
    with pytest.raises(InvalidValueError, match="size: got 10 x 10"):
        made().save_png(path, size=(10, 10))
    with pytest.raises(InvalidTypeError, match="size: got 5"):
        made().save_png(path, size=5)
    assert not path.exists()


def test_a_picture_of_one_point(tmp_path):
    one = EmbeddingMap(
        ids=(0,), points=np.zeros((1, 2), np.float32), clusters=np.zeros(1, np.uint16),
        names=(Cluster(0, "only", (), 1, 0.0, 0.0),), method="pca",
    )  # fmt: skip
    one.save_png(tmp_path / "one.png", size=(300, 300))
    assert '"px":' in one.to_html()


# -- colours ------------------------------------------------------------------------------------------------------


def test_neighbouring_groups_differ_in_colour():
    names = made(groups=9).names
    hues = cluster_hues(names)
    for number in range(9):  # on the ring
        assert hues[number] != hues[(number + 1) % 9]
    assert len(set(cluster_hues(made(groups=30).names))) == len(THEMES["light"].hues)


def test_categories_and_numbers():
    count = 400
    few = coloring(made(labels=tuple("abc"[row % 3] if row else None for row in range(count))))
    assert few.kind == "categories"
    assert few.legend == (("a", 0, 133), ("b", 1, 133), ("c", 2, 133), ("no value", -1, 1))
    many = coloring(made(labels=tuple(f"kind {row % 40}" for row in range(count))))
    assert len(many.legend) == 9
    assert many.legend[-1] == ("32 others", -1, 320)
    assert (many.of == -1).sum() == 320
    numbers = coloring(made(labels=tuple(float(row) if row else None for row in range(count))))
    assert numbers.kind == "numbers"
    assert np.isnan(numbers.of[0])
    assert np.all(np.diff(numbers.of[1:]) >= 0)
    assert (numbers.low, numbers.high) == tuple(np.percentile(np.arange(1, count), (2, 98)))
    spread = coloring(made(labels=tuple(10.0 ** (row % 12) for row in range(count))))
    assert spread.name.endswith("(log scale)")
    assert len(np.unique(np.round(np.diff(np.unique(np.round(spread.of, 6))), 3))) == 1  # even steps of the logarithm
    years = coloring(made(labels=tuple(2020 + row % 4 for row in range(count))))
    assert years.kind == "categories"
    flags = coloring(made(labels=tuple(row % 2 == 0 for row in range(count))))
    assert [label for label, _, _ in flags.legend] == ["False", "True"]


def test_hues_of_both_themes_can_be_told_from_the_paper():
    def luminance(color):
        channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for theme in THEMES.values():
        for color in (*theme.hues, theme.none):
            light, dark = sorted((luminance(color), luminance(theme.paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 1.5
        for color in (theme.ink, theme.muted):
            light, dark = sorted((luminance(color), luminance(theme.paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG AA for text


# -- pages --------------------------------------------------------------------------------------------------------


def content_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found[1])


@pytest.mark.parametrize("labels", [None, tuple([EVIL, "b"] * 200), tuple(range(400))])
def test_page_carries_the_map_and_escapes_documents(labels):
    whole = made(labels=labels)
    page = whole.to_html()
    content = content_of(page)
    assert content["titles"] == list(whole.titles)
    places = np.frombuffer(base64.b64decode(content["points"]), "<u2").reshape(-1, 2) / 65535
    low, high = whole.points.min(axis=0), whole.points.max(axis=0)
    assert np.allclose(low + places * (high - low), whole.points, atol=1e-4)
    assert np.array_equal(np.frombuffer(base64.b64decode(content["clusters"]), "<u2"), whole.clusters)
    assert page.count("</script>") == 2  # the data and the program, none from a document
    assert "alert(1)</script>" not in page
    assert "&lt;/script&gt;" in page  # the name, in the title
    assert bool(content["labelName"]) == (labels is not None)


def test_page_needs_nothing_from_outside_and_runs_only_its_own_program():
    page = made().to_html()
    without_data = page.replace(re.search(r'id="data">(.*?)</script>', page, re.S)[1], "")
    assert not re.search(r"https?://|//[a-z]|\bsrc=|@import|url\(", without_data)
    program = re.search(r"</script>\n<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#x27;", "'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "innerHTML" not in program


def test_page_without_titles_shows_ids():
    content = content_of(made(titles=False).to_html())
    assert content["titles"] is None
    assert content["ids"][7] == "id7"


# -- names --------------------------------------------------------------------------------------------------------


def test_words_are_those_that_set_a_group_apart():
    texts = ["this package contains machine learning tools"] * 30 + ["this package contains mail servers"] * 30
    texts += ["this package contains maps"] * 30
    clusters = np.repeat([0, 1, 2], 30).astype(np.uint16)
    words = cluster_words(texts, clusters)
    assert words[0] == ("learning tools", "machine")  # "contains" is in every group, so it helps no pair
    assert not {"package", "contains", "package contains"} & set(itertools.chain(*words))
    for named in words:
        used = [word for term in named for word in term.split()]
        assert len(used) == len(set(used))
    assert words[2] == ("maps",)


def test_words_do_not_depend_on_one_long_document_or_on_the_size_of_a_group():
    texts = ["apple pear"] * 200 + ["violin viola"] * 9 + ["violin " + "spam " * 500]
    clusters = np.repeat([0, 1], [200, 10]).astype(np.uint16)
    words = cluster_words(texts, clusters)
    assert "violin" in words[1][0]
    assert "spam" not in " ".join(words[1])


@pytest.mark.parametrize("texts", [[""] * 12, ["the of and"] * 12, ["12 345"] * 12])
def test_texts_without_words(texts):
    assert cluster_words(texts, np.zeros(12, np.uint16)) == [()]
    assert labels_of([()], [""]) == ["group 1"]
    assert labels_of([()], ["A title"]) == ["A title"]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(["a", "bb", "x" * 50, "two words"]), max_size=4).map(tuple), st.text()),
        max_size=12,
    )
)
def test_labels_are_unique_and_never_empty(named):
    labels = labels_of([words for words, _ in named], [fallback for _, fallback in named])
    assert len(set(labels)) == len(labels) == len(named)
    for label in labels:
        assert label.strip()
        assert label.isprintable()
