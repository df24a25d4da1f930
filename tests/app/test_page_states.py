"""What the page shows when things are not ready, not allowed, or not there."""

import re

import pytest
from page_testing import Watched, price_list, serving

pytest.importorskip("playwright.sync_api", reason="playwright is in polyvec[test]")
from playwright.sync_api import expect

from polyvec.data.documents import Document
from polyvec.search import Store

expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Vectors that were given: an index without an encoder."""
    store = Store.create(tmp_path_factory.mktemp("states") / "index", dim=4)
    vectors = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    store.add([Document(f"d{n}", f"the zebra number {n}") for n in range(3)], vectors, show_progress=False)
    return store


@pytest.fixture(scope="module")
def address(store):
    with serving(store) as found:
        yield found


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    page.watched = Watched(page)
    yield page
    context.close()


def answer(page, path, *answers):
    """Give these answers to requests for `path`, the last one again and again."""
    left = list(answers)

    def fulfil(route):
        given = left.pop(0) if len(left) > 1 else left[0]
        status = given.pop("http", 200) if "http" in given else 200
        route.fulfill(json=given, status=status)

    page.route(re.compile(f"/api/{path}(\\?.*)?$"), fulfil)


def problem(code, message, http):
    return {"http": http, "error": {"code": code, "message": message}}


def test_a_token_is_asked_for_and_kept(page, store):
    with serving(store, token="open-sesame") as closed:
        page.goto(f"{closed}/#/search?q=zebra")
        dialog = page.get_by_role("dialog", name="Token")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Open the index").click()
        expect(dialog).to_contain_text("did not accept that token")
        dialog.get_by_label("Token").fill("open-sesame")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.locator("[data-hit]")).to_have_count(3)
        page.reload()
        expect(page.locator("[data-hit]")).to_have_count(3)
        page.goto(f"{closed}/#/systems/mrl")  # its picture needs the token too
        expect(page.locator("canvas.plot:not(.pending)")).to_be_visible()
        page.watched.check("401")
        page.goto("about:blank")


def test_without_an_encoder_there_is_only_keyword_search(page, address):
    page.goto(f"{address}/#/search?q=zebra&mode=dense")
    expect(page.locator("[data-hit]")).to_have_count(3)
    expect(page.get_by_role("radio")).to_have_count(0)
    expect(page.locator(".score").first).to_contain_text("BM25")
    page.get_by_role("searchbox").fill("giraffe")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.watched.check()


@pytest.mark.parametrize(
    ("view", "path", "title"),
    [("map", "map", "The map is being drawn"), ("health", "health", "The vectors are being examined")],
)
def test_what_is_computed_is_waited_for(page, address, view, path, title):
    working = {"status": "computing", "progress": 0.25, "message": None}
    failed = {"status": "failed", "progress": None, "message": "the disk is full"}
    answer(page, path, working, {**working, "progress": 0.5}, failed)
    page.goto(f"{address}/#/{view}")
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "0.5")
    expect(page.get_by_role("alert")).to_contain_text("the disk is full")
    page.watched.check()


def test_prices_are_measured_on_demand(page, address):
    measured = []
    states = {"now": {"status": "none"}}

    def fulfil(route):
        if route.request.method == "POST":
            measured.append(route.request.headers)
            states["now"] = {"status": "computing", "progress": 0.1}
            route.fulfill(json=states["now"])
            return
        route.fulfill(json=states["now"])
        if states["now"]["status"] == "computing":
            states["now"] = {"status": "ready", "prices": price_list()}

    page.route(re.compile("/api/prices$"), fulfil)
    page.goto(f"{address}/#/prices")
    page.get_by_role("button", name="Measure the prices").click()
    expect(page.get_by_role("slider", name="Budget")).to_be_visible()
    assert len(measured) == 1
    page.watched.check()


def test_errors_are_shown_and_can_be_tried_again(page, address):
    answer(page, "search", problem("busy", "too many searches at once", 503), {**EMPTY})
    page.goto(f"{address}/#/search?q=zebra")
    expect(page.get_by_role("alert")).to_contain_text("too many searches at once")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.watched.check("503")


EMPTY = {"query": "zebra", "mode": "keyword", "took_ms": 1.0, "hits": []}


def test_a_server_that_went_away_and_came_back(page, address):
    page.goto(f"{address}/#/search")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("zebra")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.context.set_offline(False)
    expect(page.locator("[data-hit]")).to_have_count(3)  # by itself
    page.watched.check("net::ERR_INTERNET_DISCONNECTED")


def test_a_document_that_is_gone(page, address):
    page.goto(f"{address}/#/search?doc=nowhere")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("nowhere")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.watched.check("404")
