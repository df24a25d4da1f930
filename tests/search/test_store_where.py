import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_testing import HashEncoder

from polyvec.core.errors import InvalidTypeError, InvalidValueError
from polyvec.data.documents import Document
from polyvec.search.store import Store
from polyvec.search.store.where import rewrite_where

COLUMNS = {"id": "id", "text": "content", "year": "year:int", "kind of": "kind%20of:text", "Größe": "x:float"}

ROWS = [
    {"section": ["utils", "games", "o'neill", None][number % 4], "year": 2010 + number, "free": number % 3 == 0,
     "size": number / 2 if number % 5 else None}
    for number in range(40)
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("where") / "index", encoder=HashEncoder())
    store.add([
        Document(f"d{number}", f"text {number}", title=f"T{number}" if number % 2 else None,
                 source=f"folder/{number}.md", metadata=row)
        for number, row in enumerate(ROWS)
    ])  # fmt: skip
    return store


@pytest.mark.parametrize(
    ("where", "written"),
    [
        ("year > 2019", "`year:int` > 2019"),
        ("YEAR>2019 and text like '%a''b%'", "`year:int` > 2019 and `content` like '%a''b%'"),
        ("\"kind of\" = 'x' OR `kind of` IS NOT NULL", "`kind%20of:text` = 'x' OR `kind%20of:text` IS NOT NULL"),
        ("größe in (1, -2.5e3)", "`x:float` in ( 1 , - 2.5e3 )"),
        (
            "lower(id) = 'a' AND NOT (year BETWEEN 1 AND 2)",
            "lower ( `id` ) = 'a' AND NOT ( `year:int` BETWEEN 1 AND 2 )",
        ),
        ("cast(year as string) = '1'", "cast ( `year:int` as string ) = '1'"),
        ("id >= date '2020-01-01'", "`id` >= date '2020-01-01'"),
        ("id = 'year; -- DROP'", "`id` = 'year; -- DROP'"),
    ],
)
def test_columns_are_replaced_and_nothing_else(where, written):
    assert rewrite_where(where, COLUMNS) == f"({written})"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("yeer > 3", r"no column 'yeer' \(did you mean 'year'\?\); the columns are: id, text, year, kind of, Größe"),
        ("vector = 3", "no column 'vector'"),
        ("id = 'x'; DELETE FROM documents", "cannot read ';' at character 9"),
        ("id = 'x' -- year", "comments are not possible"),
        ("id = 'x' /* year */", "comments are not possible"),
        ("id = 'x", "quote ' at character 6 is not closed"),
        ('"id = 3', 'quote " at character 1 is not closed'),
        ("id = $1", "cannot read"),
        ("id = ?", "cannot read"),
        ("a.b.c = 1", "no column 'a.b.c'"),
        ("id = 'x'" + " or id = 'x'" * 600, "keywords"),
        ("(" * 50 + "id = 'x'" + ")" * 50, "brackets"),
        ("year " + "+ 1 " * 1000 + "> 3", "arithmetic"),
        ("year > " + "- " * 1000 + "3", "arithmetic"),
        ("not " * 3000 + "year > 3", "keywords"),
        ("id = '" + "x" * 1_000_001 + "'", "characters"),
    ],
)
def test_what_cannot_be_a_filter_is_refused_in_one_line(where, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        rewrite_where(where, COLUMNS)
    assert str(caught.value).startswith("where: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_filter_must_be_text():
    with pytest.raises(InvalidTypeError, match="where: got dict"):
        rewrite_where({"year": 3}, COLUMNS)


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("section = 'utils'", lambda row, number: row["section"] == "utils"),
        ("section = 'o''neill'", lambda row, number: row["section"] == "o'neill"),
        ("section IS NULL", lambda row, number: row["section"] is None),
        (
            "section <> 'utils' and year > 2020",
            lambda row, n: row["section"] not in (None, "utils") and row["year"] > 2020,
        ),
        ("year IN (2011, 2013, 1999)", lambda row, number: row["year"] in (2011, 2013)),
        ("year BETWEEN 2012 AND 2015 OR free", lambda row, number: 2012 <= row["year"] <= 2015 or row["free"]),
        ("NOT free AND size >= 7.5", lambda row, n: not row["free"] and row["size"] is not None and row["size"] >= 7.5),
        ("free = true", lambda row, number: row["free"]),
        ("year % 7 = 3", lambda row, number: row["year"] % 7 == 3),
        ("id LIKE 'd1%'", lambda row, number: str(number).startswith("1")),
        ("source ILIKE 'FOLDER/2%'", lambda row, number: str(number).startswith("2")),
        ("title = 'T7'", lambda row, number: number == 7),
        ("text LIKE '%text 3%'", lambda row, number: str(number).startswith("3")),
        ("lower(title) = 't9'", lambda row, number: number == 9),
        ("Section = 'games'", lambda row, number: row["section"] == "games"),
    ],
)
def test_filters_choose_what_python_would(store, where, fits):
    expected = [f"d{number}" for number, row in enumerate(ROWS) if fits(row, number)]
    assert expected
    assert store.ids(where) == expected
    assert store.count(where) == len(expected)
    assert [document.id for document in store.documents(where)] == expected
    assert {hit.id for hit in store.search("text", k=100, where=where)} == set(expected)
    assert {hit.id for hit in store.search("text", k=100, mode="keyword", where=where)} == set(expected)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("year >", "Expected: an expression"),
        ("year", "boolean"),
        ("year > 'abc'", "abc"),
        ("nothing(year) > 2", "nothing"),
        ("id IN (SELECT id FROM documents)", "no column 'SELECT'|not supported"),
        ("year / 0 > 1", "[Dd]ivide by zero"),
        ("section = 3 AND", "Expected"),
        ("(year > 3", "a bracket is not closed"),
        ("year > 3)", "a bracket is closed that was not opened"),
        ("year > 3 year < 5", "Expected"),
        ("year > 3 'x'", "Expected"),
    ],
)
def test_mistakes_are_told_in_one_line_by_every_method(store, where, message):
    for method in (
        lambda: store.ids(where), lambda: store.count(where), lambda: store.documents(where),
        lambda: store.vectors(where), lambda: store.search("text", where=where),
        lambda: store.search("text", mode="keyword", where=where), lambda: store.similar("d1", where=where),
    ):  # fmt: skip
        with pytest.raises(InvalidValueError, match=message) as caught:
            method()
        assert str(caught.value).startswith("where: ")
        assert "\n" not in str(caught.value)
        assert ".rs:" not in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "id = 'x'; DROP TABLE documents",
        "1 = 1; DELETE FROM documents",
        "id = 'x' UNION SELECT * FROM documents",
        "id IN (DELETE FROM documents)",
        "read_csv('/etc/passwd') = 'x'",
        "id = (SELECT text FROM '/etc/passwd')",
        "COPY documents TO '/tmp/x'",
        "pg_read_file('/etc/passwd') LIKE '%'",
        "true) OR (true",
    ],
)
def test_a_filter_can_neither_change_data_nor_read_files(store, where):
    version = store.stats().version
    with pytest.raises(InvalidValueError, match=r"^where: "):
        store.search("text", where=where)
    assert (len(store), store.stats().version) == (40, version)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.one_of(st.text(max_size=60), st.text(alphabet="year sectionid()'\"`=<>AND OR,1.2%", max_size=60)))
def test_any_text_is_a_filter_or_a_clear_error(store, where):
    try:
        assert 0 <= store.count(where) <= 40
    except InvalidValueError as error:
        assert str(error).startswith("where: ")
        assert "\n" not in str(error).replace(where, "")


def test_large_lists_and_long_chains_work(store):
    many = ", ".join(f"'d{number}'" for number in range(20_000))
    assert store.count(f"id IN ({many})") == 40
    negative = ", ".join(str(-number) for number in range(1, 500))
    assert store.count(f"year NOT IN ({negative})") == 40
    assert store.count(" OR ".join(f"year = {2010 + number % 3}" for number in range(200))) == 3


def test_metadata_keys_of_any_kind_can_be_filtered_by(tmp_path):
    keys = [
        "a b",
        "a.b",
        "größe",
        "with`tick",
        'with"quote',
        "select",
        "and",
        "x:int",
        "%41",
        "title",
        "vector",
        "a/b",
        "🙂",
        "id",
    ]
    store = Store.create(tmp_path / "index", dim=1)
    documents = [Document(f"d{number}", "x", metadata={key: number + 1}) for number, key in enumerate(keys)]
    store.add(documents, [[1.0]] * len(keys))
    for number, key in enumerate(keys):
        name = f"meta_{key}" if key in ("title", "id") else key
        quoted = '"' + name.replace('"', '""') + '"'
        assert store.ids(f"{quoted} = {number + 1}") == [f"d{number}"], key
        assert store.get(f"d{number}").metadata == {key: number + 1}
    assert store.columns["meta_title"] == "int"
    assert store.columns["a b"] == "int"
    assert store.ids("a.b = 2") == ["d1"]
