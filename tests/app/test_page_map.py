"""The map of the page: a click opens a document, a search lights up its hits, 100,000 points stay fluid."""

import contextlib
import re

import numpy as np
import psutil
import pytest
from page_testing import Watched, sample_store, serving

pytest.importorskip("playwright.sync_api", reason="playwright is in polyvec[test]")
from playwright.sync_api import expect

FRAMES = 40
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def address():
    with serving(sample_store()) as found:
        yield found


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    page = context.new_page()
    watched = Watched(page)
    yield page
    watched.check()
    context.close()


def pixels(page):
    """The picture of the canvas as `(height, width, 3)` numbers."""
    import io

    import matplotlib.image

    page.evaluate(
        "document.querySelectorAll('.map-labels, .map-tools, .tooltip').forEach(e => { e.style.opacity = 0 })"
    )
    picture = page.locator("canvas.map-canvas").screenshot()
    return (matplotlib.image.imread(io.BytesIO(picture))[..., :3] * 255).astype(int)


def coloured(picture):
    """How many pixels are neither grey nor ground."""
    return int((picture.max(-1) - picture.min(-1) > 40).sum())


def points(page):
    content = bytes(
        page.evaluate("fetch('api/map/points').then(r => r.arrayBuffer()).then(b => [...new Uint8Array(b)])")
    )
    n = len(content) // 10
    places = np.frombuffer(content[: 8 * n], dtype="<f4").reshape(n, 2)
    return places, np.frombuffer(content[8 * n :], dtype="<u2")


def on_screen(places, box):
    """Where points lie on the screen, in the view that shows all."""
    low, high = places.min(0), places.max(0)
    margin = min(40, box["width"] / 8, box["height"] / 8)
    scale = min((box["width"] - 2 * margin) / (high - low)[0], (box["height"] - 2 * margin) / (high - low)[1])
    middle = (low + high) / 2
    return np.stack(
        [
            box["x"] + box["width"] / 2 + (places[:, 0] - middle[0]) * scale,
            box["y"] + box["height"] / 2 - (places[:, 1] - middle[1]) * scale,
        ],
        axis=1,
    )


def lonely(places, screen):
    """The point that is furthest from its nearest neighbour: a click on it means it."""
    apart = np.linalg.norm(screen[:, None] - screen[None], axis=-1) + np.eye(len(screen)) * 1e9
    return int(apart.min(1).argmax())


def test_hover_names_a_document_and_a_click_opens_it(page, address):
    page.goto(f"{address}/#/map")
    canvas = page.locator("canvas.map-canvas")
    expect(canvas).to_be_visible()
    expect(page.locator(".map-labels span").first).to_be_visible()
    places, _ = points(page)
    screen = on_screen(places, canvas.bounding_box())
    index = lonely(places, screen)
    meant = page.evaluate("index => fetch(`api/map/point?index=${index}`).then(r => r.json())", index)
    assert coloured(pixels(page)) > 300
    page.mouse.move(*map(float, screen[index]))
    expect(page.locator("[data-tooltip] strong")).to_have_text(meant["title"] or meant["id"])
    page.mouse.click(*map(float, screen[index]))
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator(".metadata dd").first).to_have_text(meant["id"])
    assert re.search(r"#/map\?.*doc=", page.url)


def test_a_search_lights_up_its_hits(page, address):
    page.goto(f"{address}/#/map")
    expect(page.locator(".legend li").first).to_be_visible()
    places, _ = points(page)
    screen = on_screen(places, page.locator("canvas.map-canvas").bounding_box())
    before = coloured(pixels(page))
    page.get_by_role("searchbox", name="Search").fill("zebra")
    page.get_by_role("radio", name="Keyword").check()
    expect(page.locator("[data-hit]")).to_have_count(4)
    picture = pixels(page)
    assert coloured(picture) < before / 2, "all but the hits have faded"
    box = page.locator("canvas.map-canvas").bounding_box()
    answer = page.evaluate("fetch('api/search?q=zebra&mode=keyword&k=50').then(r => r.json())")
    lit = [hit["point"] for hit in answer["hits"]]
    assert len(lit) == 4
    for point in lit:
        x, y = np.round(screen[point] - [box["x"], box["y"]]).astype(int)
        around = picture[y - 8 : y + 9, x - 8 : x + 9]
        assert (around.max(-1) < 90).sum() >= 8, "a lit point has a dark ring"
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".legend")).to_be_visible()
    assert abs(coloured(pixels(page)) - before) < before / 10


def test_the_legend_tells_what_the_picture_shows(page, address):
    page.goto(f"{address}/#/map")
    rows = page.locator(".legend button")
    expect(rows.first).to_be_visible()
    _, clusters = points(page)
    numbers = [int(text.replace(",", "")) for text in page.locator(".legend .number").all_inner_texts()]
    assert numbers == sorted(np.unique(clusters[clusters < 65535], return_counts=True)[1].tolist(), reverse=True)
    before = coloured(pixels(page))
    rows.nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".typical a").first).to_be_visible()
    assert "cluster=" in page.url
    page.locator(".typical a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").locator("[data-document-text]")).to_be_visible()
    page.keyboard.press("Escape")
    rows.nth(1).click()
    page.mouse.move(5, 5)
    page.get_by_role("button", name="Show all").click()
    page.mouse.move(5, 5)
    page.locator("body").click(position={"x": 5, "y": 300})
    assert abs(coloured(pixels(page)) - before) < before / 5


def test_keys_move_and_zoom(page, address):
    page.goto(f"{address}/#/map")
    expect(page.locator(".legend li").first).to_be_visible()
    page.locator("canvas.map-canvas").focus()
    start = pixels(page)
    page.keyboard.press("ArrowRight")
    moved = pixels(page)
    assert np.abs(moved[:, :-60] - start[:, 60:]).mean() < 1, "60 pixels to the left"
    page.keyboard.press("+")
    assert np.abs(pixels(page) - moved).mean() > 0.2
    page.keyboard.press("0")
    assert np.abs(pixels(page) - start).mean() < 0.2


def processor_seconds():
    """What the browser has used so far: `(its page's process, all its processes)`."""
    page = everything = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "chrom" in process.name():
                used = sum(process.cpu_times()[:2])
                everything += used
                page += used if "--type=renderer" in process.cmdline() else 0.0
    return np.array([page, everything])


def frame_cost(page):
    """Processor seconds of a frame while the map zooms."""
    page.evaluate(ZOOM, 10)
    before = processor_seconds()
    page.evaluate(ZOOM, FRAMES)
    return (processor_seconds() - before) / FRAMES


ZOOM = """frames => new Promise(done => {
    const canvas = document.querySelector("canvas.map-canvas"), box = canvas.getBoundingClientRect();
    let left = frames;
    const step = () => {
        if (left-- === 0) return done();
        const turn = {deltaY: left % 20 < 10 ? 30 : -30, clientX: box.x + 200, clientY: box.y + 200, cancelable: true};
        canvas.dispatchEvent(new WheelEvent("wheel", turn));
        requestAnimationFrame(step);
    };
    step();
})"""


def test_a_hundred_thousand_points_move_as_easily_as_few(page, address):
    page.goto(f"{address}/#/map")
    expect(page.locator(".legend li")).to_have_count(8)
    few = frame_cost(page)

    count = 100_000
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, 2)) * 3
    numbers = generator.integers(0, 40, count).astype("<u2")
    places = (centres[numbers] + generator.normal(size=(count, 2)) * 0.4).astype("<f4")
    clusters = [
        {"number": n, "label": f"cluster {n}", "words": ["a", "b"], "count": int((numbers == n).sum()), "x": x, "y": y}
        for n, (x, y) in enumerate(centres.tolist())
    ]
    limits = [[float(places[:, axis].min()), float(places[:, axis].max())] for axis in (0, 1)]
    summary = {"count": count, "method": "umap", "clusters": clusters, "x": limits[0], "y": limits[1]}
    page.route(re.compile("/api/map$"), lambda route: route.fulfill(json={"status": "ready", "map": summary}))
    page.route(re.compile("/api/map/points"), lambda route: route.fulfill(body=places.tobytes() + numbers.tobytes()))
    page.reload()
    expect(page.locator(".legend li")).to_have_count(40)
    many = frame_cost(page)
    print(
        f"\nprocessor ms a frame (page, with software rendering): few points {1e3 * few}, 100,000 points {1e3 * many}"
    )
    assert many[0] < 0.025, "the page's own work fits into a frame"
    assert many[1] < 3 * few[1], "rendering, here by the processor, does not grow with the points"
