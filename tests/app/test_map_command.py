"""`polyvec map` as a user meets it."""

import json
import shutil

import numpy as np
import pytest

from polyvec.app import main as command_line
from polyvec.assess.map import EmbeddingMap
from polyvec.core.vectors import Vectors
from polyvec.data.documents import Document
from polyvec.search import Store

SUBJECTS = ("violin orchestra concert", "engine gearbox piston")


@pytest.fixture
def draw(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["map", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def vectors():
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], 40)
    data = np.eye(2, 8)[truth] * 4 + generator.normal(size=(80, 8)) * 0.3
    texts = [f"the {SUBJECTS[kind]}" for kind in truth]
    metadata = {"title": [f"<i>Title {row}" for row in range(80)], "text": texts, "year": list(range(1920, 2000))}
    return Vectors(data, ids=[f"d{row}" for row in range(80)], metadata=metadata)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "music and motors.parquet"
    vectors().save(path)
    return path


@pytest.fixture
def index(tmp_path):
    given = vectors()
    store = Store.create(tmp_path / "index", dim=8)
    rows = given.metadata.to_pylist()
    documents = [
        Document(key, row["text"], row["title"], metadata={"year": row["year"]})
        for key, row in zip(given.ids, rows, strict=True)
    ]
    store.add(documents, given.matrix)
    return tmp_path / "index"


def test_a_file_to_every_kind_of_output(file, draw, tmp_path):
    outputs = [tmp_path / f"new/map.{kind}" for kind in ("png", "svg", "html", "arrow")]
    options = [part for path in outputs for part in ("--to", path)]
    code, out, err = draw(file, "--method", "pca", "--color", "year", *options)
    assert code == 0
    assert err.splitlines()[-4:] == [f"written to {path}" for path in outputs]
    header, *lines = out.splitlines()
    assert header == "group\tname\tdocuments"
    assert len(lines) == 2
    assert {line.split("\t")[0] for line in lines} == {"0", "1"}
    words = " ".join(line.split("\t")[1] for line in lines).replace(",", "").split()
    assert set(words) <= set(" ".join(SUBJECTS).split())
    assert outputs[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in outputs[1].read_text()
    assert "\\u003ci\\u003eTitle 3" in outputs[2].read_text()
    kept = EmbeddingMap.load(outputs[3])
    assert (kept.label_name, kept.labels[0], kept.titles[1]) == ("year", 1920, "<i>Title 1")


def test_json_and_quiet(file, draw):
    code, out, err = draw(file, "--method", "pca", "--json", "--clusters", 3, "--seed", 2)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["count"], told["method"], told["seed"], len(told["clusters"])) == (80, "pca", 2, 3)
    assert (told["name"], told["written"]) == (file.name, [])
    assert draw(file, "--method", "pca", "--quiet")[2] == ""


def test_an_index_keeps_its_map(index, draw, tmp_path):
    assert draw(index, "--method", "pca", "--to", tmp_path / "a.html", "--color", "year")[0] == 0
    kept = index / ".polyvec" / "map.arrow"
    first = kept.stat().st_mtime_ns
    assert draw(index, "--method", "pca", "--quiet")[0] == 0
    assert kept.stat().st_mtime_ns == first
    assert draw(index, "--method", "pca", "--fresh")[0] == 0
    assert kept.stat().st_mtime_ns != first
    assert "<i>Title 3" in EmbeddingMap.load(kept).titles
    assert len(Store.open(index, read_only=True)) == 80


def test_bad_input_ends_with_code_2_and_one_line(file, index, draw, tmp_path):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan, dtype=np.float32))
    (tmp_path / "notes.txt").write_text("hello")
    before = file.read_bytes()
    cases = [
        ([tmp_path / "missing"], "no such file or folder"),
        ([tmp_path / "empty"], "is an empty folder"),
        ([tmp_path / "notes.txt"], "no known format of vectors"),
        ([tmp_path / "nan.npy"], "row 0 holds NaN or infinity"),
        ([file, "--to", "map.jpg"], "the suffix names no kind of map; use one of .png, .svg, .html, .arrow"),
        ([file, "--to", tmp_path / "empty"], "names no kind of map"),
        ([file, "--color", "colour"], "has no column 'colour'; it has title, text, year"),
        ([index, "--color", "colour"], "has no column 'colour'"),
        ([file, "--method", "isomap"], "isomap"),
        ([file, "--clusters", "0"], "--clusters"),
        ([file, "--seed", "-1"], "--seed"),
        ([], "Missing argument"),
    ]
    for arguments, message in cases:
        code, out, err = draw(*arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err, arguments
        assert len(err.splitlines()) == 1, arguments
    assert file.read_bytes() == before
    assert not (index / ".polyvec").exists()


@pytest.mark.slow
def test_the_page_in_a_browser(index, draw, tmp_path):
    sync = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium")
    page_file = tmp_path / "map.html"
    assert draw(index, "--method", "pca", "--to", page_file)[0] == 0
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1200, "height": 800})
        trouble, asked = [], []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        buttons = page.locator("#list li button")
        assert buttons.count() == 2
        buttons.first.click()
        assert page.locator("#list h2").inner_text().endswith(": 40 documents")
        page.locator("#list li button").nth(2).press("Enter")
        assert "<i>Title" in page.locator("#said").inner_text()
        assert page.locator('#list [aria-current="true"]').count() == 1
        page.fill("#find", "title 79")
        sync.expect(page.locator("#list h2")).to_have_text("“title 79”: 1 document")
        page.fill("#find", "")
        sync.expect(page.locator("#list h2")).to_have_text("2 groups")
        box = page.locator("#map").bounding_box()
        found = False
        for step in range(40):  # along the middle, until the pointer meets a point
            page.mouse.move(box["x"] + box["width"] * (step + 0.5) / 40, box["y"] + box["height"] / 2)
            if page.locator("#tip").evaluate("tip => getComputedStyle(tip).visibility") == "visible":
                found = True
                break
        assert found
        page.mouse.down()
        page.mouse.up()
        page.wait_for_selector('#list [aria-current="true"]')
        page.click("#theme")
        page.focus("#map")
        page.keyboard.press("+")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("0")
        chromium.close()
    assert trouble == []
    assert asked == [page_file.as_uri()]
