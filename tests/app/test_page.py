"""The page end to end: the real server over a real index, in a headless Chromium."""

import re

import pytest
from page_testing import WEB, Watched, price_list, sample_store, serving

pytest.importorskip("playwright.sync_api", reason="playwright is in polyvec[test]")
from playwright.sync_api import expect

from polyvec.search import Store

ACTION_MS = 20_000
expect.set_options(timeout=ACTION_MS)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def store():
    return sample_store()


@pytest.fixture(scope="module")
def address(store):
    with serving(store) as found:
        yield found


@pytest.fixture
def visit(browser, address):
    """`visit(fragment, **context)` opens the page and gives it, watched; at the end nothing may have gone wrong."""
    contexts, watched = [], []

    def open_page(fragment="", *, at=None, expected=(), prepare=None, **options):
        options = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce"} | options
        context = browser.new_context(**options)
        context.set_default_timeout(ACTION_MS)
        contexts.append(context)
        page = context.new_page()
        watched.append((Watched(page), expected))
        if prepare is not None:
            prepare(page)
        page.goto(f"{at or address}/{fragment}")
        return page

    yield open_page
    for one, expected in watched:
        one.check(*expected)
    for context in contexts:
        context.close()


def hits(page):
    return page.locator("[data-hit]")


def search(page, text):
    page.get_by_role("searchbox", name="Search").fill(text)
    page.keyboard.press("Enter")


def test_search_marks_the_words_and_counts_the_time(visit):
    page = visit()
    expect(page.get_by_role("heading", level=1)).to_have_text("Search sample")
    search(page, "matryoshka embeddings")
    expect(hits(page).first).to_be_visible()
    expect(page.locator(".outcome")).to_have_text(re.compile(r"^10 hits so far · [\d.]+ (ms|s)$"))
    marks = [text.lower() for text in page.locator(".snippet mark, h3 mark").all_inner_texts()]
    assert {"matryoshka"} <= set(marks)
    assert all(re.match("matryoshka|embed", text) for text in marks), marks
    page.get_by_role("button", name="More hits").click()
    expect(hits(page)).to_have_count(20)
    assert len(set(hits(page).evaluate_all("links => links.map(link => link.href)"))) == 20


def test_marks_count_code_points(visit):
    page = visit("#/search?q=zebra&mode=keyword")
    astral = page.locator("li", has=page.get_by_role("link", name="𝔄 zebra 🦓"))
    expect(astral.locator(".snippet mark")).to_have_text(["zebra", "zebra"])
    expect(astral.locator("h3 mark")).to_have_text(["zebra"])


def test_modes_answer_differently(visit):
    page = visit("#/search?q=cheaper+storage+of+vectors")
    names = {"Keyword": "BM25", "Dense": "Similarity", "Hybrid": "Fused"}
    found = []
    for mode, name in names.items():
        with page.expect_response(re.compile(f"api/search.*mode={mode.lower()}")):
            page.get_by_role("radio", name=mode).check()
        expect(page.locator(".score").first).to_contain_text(name)
        found.append(hits(page).evaluate_all("links => links.map(link => link.textContent)"))
    assert found[0] != found[1] != found[2] != found[0]
    assert "mode=hybrid" in page.url


def test_filters_narrow_the_hits_and_survive_odd_values(visit):
    page = visit("#/search?q=zebra&mode=keyword")
    expect(hits(page)).to_have_count(4)
    filters = page.get_by_role("region", name="Filters")
    for room in ('a\'b "c"', "</script>"):
        filters.get_by_label(room).or_(filters.get_by_role("button", name=re.compile("Show .* more"))).first.click()
        if not filters.get_by_label(room).is_checked():
            filters.get_by_label(room).check()
    expect(hits(page)).to_have_count(2)
    expect(page.locator(".outcome")).to_contain_text("2 filters")
    reloaded = page.url
    page.reload()  # a deep link holds the filters
    assert page.url == reloaded
    expect(hits(page)).to_have_count(2)
    filters.get_by_role("button", name="Clear").click()
    expect(hits(page)).to_have_count(4)


def test_odd_column_names_ranges_and_truth_values(visit):
    page = visit("#/search?q=zebra&mode=keyword&is.the+%22odd%22+key=%22x%27y%22")
    expect(hits(page)).to_have_text(["O'Hara"])
    page = visit("#/search?q=vectors&range.year=2024..2025&is.claim=true")
    expect(hits(page)).to_have_count(10)
    years = page.locator(".chips li", has_text="year").all_inner_texts()
    assert len(years) == 10
    assert {text.split()[-1] for text in years} <= {"2024", "2025"}
    page.get_by_label("year from").fill("2025")
    page.get_by_label("year from").press("Enter")
    expect(page.locator(".chips li", has_text="2024")).to_have_count(0)
    assert "range.year=2025..2025" in page.url


def test_the_raw_condition_and_its_errors(visit):
    page = visit("#/search?q=vectors", expected=["422"])
    filters = page.get_by_role("region", name="Filters")
    filters.get_by_text("Condition").click()
    filters.get_by_label("As in SQL").fill("yaer > 2020")
    filters.get_by_role("button", name="Apply").click()
    expect(filters.get_by_role("alert")).to_contain_text("there is no column 'yaer' (did you mean 'year'?)")
    filters.get_by_label("As in SQL").fill("year > 2024 and claim is null")
    filters.get_by_role("button", name="Apply").click()
    expect(page.locator(".chips li", has_text="year").first).to_have_text("year 2025")
    expect(filters.get_by_role("alert")).to_have_count(0)


def test_document_dialog_and_more_like_this(visit):
    page = visit("#/search?q=matryoshka+representation+learning")
    hits(page).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_contain_text("Matryoshka")
    expect(dialog.locator("[data-document-text]")).to_contain_text("nested prefixes of its vector")
    assert "doc=mrl" in page.url
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "doc=" not in page.url
    expect(hits(page).first).to_be_focused()
    page.go_back()
    hits(page).first.click()
    dialog.get_by_role("button", name="More like this").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".likeness")).to_contain_text("Matryoshka")
    expect(hits(page)).to_have_count(10)
    assert "mrl" not in [
        link.rpartition("doc=")[2] for link in hits(page).evaluate_all("links => links.map(link => link.href)")
    ]


def test_what_a_document_contains_does_nothing(visit):
    page = visit("#/search?q=zebra&mode=keyword&doc=bait")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("[data-document-text]")).to_contain_text("<script>window.hacked = 1</script>")
    expect(dialog.get_by_role("heading")).to_contain_text("<img src=x")
    page.goto(page.url.replace("#/search", "#/map"))
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("li", has_text="<script>").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img, dialog script, dialog img").count() == 0


def test_keyboard_alone(visit):
    page = visit()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("graph embedding")
    page.keyboard.press("Enter")
    expect(hits(page)).to_have_count(10)
    page.keyboard.press("ArrowDown")
    expect(hits(page).nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(hits(page).nth(2)).to_be_focused()
    page.keyboard.press("k")
    expect(hits(page).nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(hits(page).nth(1)).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.get_by_label("Shortcuts of a single letter or sign").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search")).not_to_be_focused()


def test_dark_and_light(visit):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    page = visit(color_scheme="dark")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate(ground) == "rgb(15, 17, 21)"
    page.get_by_role("button", name="Switch to the light theme").click()
    assert page.evaluate(ground) == "rgb(246, 246, 243)"
    page.reload()
    assert page.evaluate(ground) == "rgb(246, 246, 243)", "the choice is kept"
    page.get_by_role("button", name="Switch to the dark theme").click()
    assert page.evaluate(ground) == "rgb(15, 17, 21)"
    assert visit(color_scheme="light").evaluate(ground) == "rgb(246, 246, 243)"


def test_the_systems_tab_searches_and_tells(visit):
    page = visit("#/systems")
    expect(page.locator(".system-list li")).to_have_count(65)
    page.get_by_role("searchbox", name="Search the systems").fill("one embedding that can be cut to any size")
    expect(page.locator(".outcome")).to_have_text("65 systems, closest first")
    nearest = page.locator(".system-list strong")
    expect(nearest.first).to_have_text(re.compile("Matryoshka|MRL|2DMSE|ESE", re.I))
    page.get_by_role("radio", name="Working").check()
    page.get_by_role("link", name=re.compile("^Matryoshka")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Matryoshka")
    expect(page.locator(".claims li").first).to_be_visible()
    expect(page.locator(".verdicts tbody tr").first).to_contain_text("holds")
    expect(page.locator("canvas.plot:not(.pending)")).to_be_visible()
    size = page.locator("canvas.plot").evaluate("canvas => [canvas.width, canvas.height]")
    assert min(size) > 300, size
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the command").click()
    assert page.evaluate("navigator.clipboard.readText()") == "polyvec reproduce mrl"
    page.go_back()
    expect(page.locator(".system-list")).to_be_visible()


def test_the_health_report(visit):
    page = visit("#/health")
    expect(page.locator(".findings .finding").first).to_be_visible(timeout=60_000)
    report = page.evaluate("fetch('api/health').then(answer => answer.json())")["report"]
    assert (
        page.locator(".finding h3").all_inner_texts().sort() == [found["name"] for found in report["findings"]].sort()
    )
    finding = report["findings"][0]
    card = page.locator(".finding", has_text=finding["name"]).first
    if card.get_attribute("open") is None:
        card.locator("summary").click()
    for text in (finding["shown"], finding["meaning"], finding["threshold"], finding["source"]):
        expect(card).to_contain_text(text)
    expect(page.locator(".chart svg")).to_have_count(len(report["series"]))


def with_prices(page, rows=None):
    answer = {"status": "ready", "prices": price_list()}
    page.route(re.compile(r"/api/prices"), lambda route: route.fulfill(json=answer))


def test_the_budget_names_the_best_setting_within_it(visit):
    page = visit("#/prices?budget=400", prepare=with_prices)
    rows = price_list()["rows"]

    def name(row):
        return row["label"] + (f", then {row['rescoring']}" if row["rescoring"] else "")

    def best(budget, counted="kept_bytes"):
        within = [row for row in rows if row[counted] <= budget]
        return name(max(within, key=lambda row: (row["recall_10"][0], -row[counted]))) if within else None

    answer = page.locator(".price-best strong")
    expect(answer).to_have_text(best(400))
    slider = page.get_by_role("slider", name="Budget")
    slider.focus()
    seen = set()
    for key, times in (("ArrowLeft", 4), ("ArrowRight", 7), ("PageDown", 2), ("PageUp", 1), ("End", 1)):
        for _ in range(times):
            page.keyboard.press(key)
            budget = int(slider.get_attribute("aria-valuenow"))
            expect(answer).to_have_text(best(budget + 0.5))
            assert best(budget + 0.5) in slider.get_attribute("aria-valuetext")
            seen.add(best(budget + 0.5))
    assert len(seen) >= 4
    page.keyboard.press("Home")
    expect(answer).to_have_text("No setting fits.")
    box = page.locator(".price-plot svg").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120, steps=5)
    page.mouse.up()
    budget = int(slider.get_attribute("aria-valuenow"))
    assert 100 < budget < 400
    expect(answer).to_have_text(best(budget + 0.5))
    page.get_by_role("radio", name="Scanned").check()
    expect(answer).to_have_text(best(budget + 0.5, "bytes"))
    page.get_by_role("radio", name="Kept").check()
    left_out = page.locator(".below")
    hidden = int(left_out.inner_text().split()[0]) if left_out.count() else 0
    expect(page.locator(".price")).to_have_count(len(rows) - hidden)
    assert hidden < len(rows) / 2
    front = sorted((row for row in rows if row["pareto"]), key=lambda row: row["kept_bytes"])
    expect(page.locator("tbody th")).to_have_text([name(row) for row in front])
    page.get_by_label("Show all settings").check()
    expect(page.locator("tbody tr")).to_have_count(len(rows))
    expect(page.locator(".confirmed")).to_contain_text("0.950 (0.940 to 0.960)")


def widest(page):
    return page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_never_scrolls_sideways(visit, width):
    page = visit(viewport={"width": width, "height": 760}, has_touch=True, is_mobile=True, prepare=with_prices)
    views = (
        "search",
        "search?q=zebra&mode=keyword",
        "search?q=zebra&doc=long",
        "map",
        "health",
        "prices",
        "systems",
        "systems/mrl",
    )
    ready = (
        ".start",
        "[data-hit]",
        "[data-document-text]",
        "canvas",
        ".finding",
        ".price-plot",
        ".system-list",
        ".verdicts",
    )
    for view, sign in zip(views, ready, strict=True):
        page.evaluate("address => { location.hash = address }", f"#/{view}")
        expect(page.locator(sign).first).to_be_visible(timeout=60_000)
        wide, seen = widest(page)
        assert wide <= seen, f"{view} is {wide} wide"
    page.evaluate("location.hash = '#/search?q=zebra&mode=keyword'")
    page.get_by_role("button", name=re.compile("Filters")).tap()
    expect(page.get_by_role("region", name="Filters")).to_be_visible()
    wide, seen = widest(page)
    assert wide <= seen


AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_axe(visit, scheme):
    if not AXE.exists():
        pytest.skip("axe-core is not here; run: cd web && npm ci")
    page = visit(color_scheme=scheme, prepare=with_prices)
    page.evaluate(AXE.read_text())  # the debugger's evaluation is not subject to the page's policy
    views = {
        "search": ".start",
        "search?q=zebra&mode=keyword": "[data-hit]",
        "search?q=vectors&doc=mrl": "[data-document-text]",
        "map": ".legend li",
        "map?q=zebra&mode=keyword": "[data-hit]",
        "health": ".finding",
        "prices": ".price-plot",
        "systems": ".system-list li",
        "systems/mrl": ".verdicts",
    }
    for view, sign in views.items():
        page.evaluate("address => { location.hash = address }", f"#/{view}")
        expect(page.locator(sign).first).to_be_visible(timeout=60_000)
        found = page.evaluate(
            """() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
            .then(({violations}) => violations.map(({id, impact, nodes}) =>
                [id, impact, nodes.slice(0, 3).map(node => `${node.html} ${node.failureSummary}`)]))"""
        )
        serious = [entry for entry in found if entry[1] in ("serious", "critical")]
        assert serious == [], f"{view} ({scheme}): {serious}"


def test_a_read_only_index_offers_no_measuring(visit, store):
    with serving(Store.open(store.path, read_only=True)) as other:
        page = visit("#/prices", at=other)
        expect(page.get_by_role("heading", name="Not measured yet")).to_be_visible()
        expect(page.get_by_role("button", name="Measure the prices")).to_have_count(0)
        page.goto("about:blank")
