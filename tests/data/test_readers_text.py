"""Plain text, Markdown and HTML: encodings, binary files, huge texts, titles, visible text."""

from __future__ import annotations

import gzip
import random
import time
from pathlib import Path

import pytest
from readers_support import paragraph, read_all, wrapped, write

from polyvec.core.errors import FormatError
from polyvec.data.readers import limits
from polyvec.data.readers.encodings import clean_text
from polyvec.data.readers.web_page import visible_text

SAMPLES = {
    "french": (
        "L'été dernier, nous avons découvert une forêt près de la rivière où les élèves étudiaient. Voilà à côté.",
        "cp1252",
    ),
    "german": (
        "Über den Wäldern hängen graue Wolken; die Größe der Stadt überrascht müde Gäste. Schöne Grüße.",
        "cp1252",
    ),
    "spanish": (
        "El niño comió una manzana en la mañana y después leyó un capítulo. ¿Cuándo vendrá tu compañía?",
        "cp1252",
    ),
    "quotes": (
        "The café’s “naïve” owner – a former engineer – sells coffee at £3, and it is a nice place to sit.",
        "cp1252",
    ),
    "polish": (
        "Zażółć gęślą jaźń. Wczoraj wieczorem poszliśmy na długi spacer po mieście, żeby zobaczyć światła.",
        "cp1250",
    ),
    "polish, ISO": (
        "Zażółć gęślą jaźń. Wczoraj wieczorem poszliśmy na długi spacer po mieście, żeby zobaczyć światła.",
        "iso8859-2",
    ),
    "czech": ("Příliš žluťoučký kůň úpěl ďábelské ódy. Včera večer jsme šli na dlouhou procházku městem.", "cp1250"),
    "russian": (
        "Вчера вечером мы долго гуляли по городу и разговаривали о новых книгах, которые недавно прочитали.",
        "cp1251",
    ),
    "russian, KOI": (
        "Вчера вечером мы долго гуляли по городу и разговаривали о новых книгах, которые прочитали.",
        "koi8-r",
    ),
    "greek": ("Χθες το βράδυ περπατήσαμε στην πόλη και μιλήσαμε για τα νέα βιβλία που διαβάσαμε.", "cp1253"),
    "japanese": (
        "昨日の夜、私たちは街を散歩して、最近読んだ新しい本について話しました。とても楽しかったです。",
        "cp932",
    ),
    "japanese, EUC": (
        "昨日の夜、私たちは街を散歩して、最近読んだ新しい本について話しました。とても楽しかったです。",
        "euc_jp",
    ),
    "chinese": ("昨天晚上我们在城市里散步，谈论最近读过的新书。天气很好，大家都很高兴。", "gb18030"),
    "chinese, Big5": ("昨天晚上我們在城市裡散步，談論最近讀過的新書。天氣很好，大家都很高興。", "big5"),
    "korean": (
        "어제 저녁 우리는 도시를 산책하며 최근에 읽은 새 책에 대해 이야기했습니다. 정말 즐거웠습니다.",
        "euc_kr",
    ),
}


def text_of(path: Path, **options: object) -> str:
    documents, _ = read_all(path, **options)
    assert len(documents) == 1
    return documents[0].text


@pytest.mark.parametrize("name", SAMPLES)
def test_encoding_is_guessed_and_named_in_the_report(tmp_path: Path, name: str) -> None:
    text, encoding = SAMPLES[name]
    documents, report = read_all(write(tmp_path / "a.txt", text.encode(encoding)))
    assert documents[0].text == text
    assert list(report.encodings) == ["a.txt"]
    assert any("a guess" in line for line in report.lines())
    assert text_of(tmp_path / "a.txt", encoding=encoding) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["french", "russian", "chinese"])
def test_unicode_needs_no_guess(tmp_path: Path, encoding: str, name: str) -> None:
    text = SAMPLES[name][0] + " 😀"
    documents, report = read_all(write(tmp_path / "a.txt", text.encode(encoding)))
    assert documents[0].text == text
    assert not report.encodings
    assert text_of(tmp_path / "a.txt", encoding=encoding) == text


def test_mark_in_the_other_byte_order(tmp_path: Path) -> None:
    text = SAMPLES["russian"][0]
    assert text_of(write(tmp_path / "a.txt", b"\xfe\xff" + text.encode("utf-16-be"))) == text
    assert text_of(write(tmp_path / "a.txt", b"\x00\x00\xfe\xff" + text.encode("utf-32-be"))) == text
    assert text_of(write(tmp_path / "a.txt", b"\xef\xbb\xbf" + text.encode()), encoding="utf-8") == text


def test_odd_byte_far_from_the_start_is_found_before_the_text_is_decoded(tmp_path: Path) -> None:
    text = "plain words only " * 100_000 + SAMPLES["french"][0]
    documents, report = read_all(write(tmp_path / "a.txt", text.encode("cp1252")))
    assert documents[0].text == text
    assert report.encodings == {"a.txt": "cp1252"}


def test_utf8_with_a_few_damaged_bytes_stays_utf8(tmp_path: Path) -> None:
    text = SAMPLES["russian"][0] * 5
    damaged = bytearray(text.encode())
    damaged[100] = 0x41  # the second byte of a letter
    documents, report = read_all(write(tmp_path / "a.txt", bytes(damaged)))
    expected = bytes(damaged).decode("utf-8", "replace")
    assert documents[0].text == expected
    assert expected.count("\ufffd") == 1
    assert report.left_out["a.txt"]["damaged characters"].count == 1
    with pytest.raises(FormatError, match="damaged"):
        read_all(tmp_path / "a.txt", on_error="raise")


def test_wrong_encoding_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"x" * 1000 + "é".encode("cp1252") + b" and more")
    with pytest.raises(FormatError, match=r"not valid utf-8: a byte near byte 1,000"):
        read_all(path, encoding="utf-8")
    with pytest.raises(FormatError, match="not valid ascii"):
        read_all(path, encoding="ascii")
    assert text_of(path, encoding="latin-1").endswith("é and more")


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".csv", ".jsonl", ".json"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"some words\0 and more", "NUL byte near byte 10"),
        (b"x" * 3_000_000 + b"\0", "NUL byte near byte 3,000,000"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a PNG image"),
        (b"%PDF-1.4 and so on", "a PDF"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (gzip.compress(b"words"), "a gzip file"),
        (random.Random(0).randbytes(5000).replace(b"\0", b""), "not text"),
        (bytes(range(1, 32)) * 20, "control codes"),
    ],
)
def test_binary_file_is_skipped_with_the_reason(tmp_path: Path, suffix: str, content: bytes, reason: str) -> None:
    write(tmp_path / f"a{suffix}", content)
    write(tmp_path / "good.txt", "words")
    documents, report = read_all(tmp_path)
    assert [document.id for document in documents] == ["good.txt"]
    assert reason in report.skipped[0].reason
    with pytest.raises(FormatError):
        read_all(tmp_path, on_error="raise")


def test_line_ends_and_outer_white_space(tmp_path: Path) -> None:
    assert text_of(write(tmp_path / "a.txt", b"\r\n  one\r\ntwo\rthree\n\n")) == "one\ntwo\nthree"
    assert text_of(write(tmp_path / "b.txt", "one\x0ctwo\x85three\u2028four")) == "one\x0ctwo\x85three\u2028four"
    assert text_of(write(tmp_path / "c.txt", "Ctrl-Z ends old files\x1a")) == "Ctrl-Z ends old files\x1a"


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xef\xbb\xbf", b"\xff\xfe", "\u3000\u2003\n".encode()])
@pytest.mark.parametrize(
    "suffix", [".txt", ".md", ".html", ".csv", ".tsv", ".jsonl", ".json", ".pdf", ".parquet", ".arrow"]
)
def test_empty_file(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", content)
    for policy in ("warn", "raise"):
        with pytest.raises(FormatError):
            read_all(path, on_error=policy)


def test_gzip(tmp_path: Path) -> None:
    text = wrapped(paragraph(random.Random(0), 3000))
    assert text_of(write(tmp_path / "a.txt.gz", gzip.compress(text.encode()))) == text
    assert text_of(write(tmp_path / "b.md.gz", gzip.compress(b"# Head\n\nBody"))) == "Body"
    assert text_of(write(tmp_path / "c.HTML.GZ", gzip.compress(b"<p>Body"))) == "Body"
    for damaged in (gzip.compress(text.encode())[:-12], text.encode(), gzip.compress(text.encode())[:40] + b"x" * 40):
        with pytest.raises(FormatError, match="gzip"):
            read_all(write(tmp_path / "d.txt.gz", damaged))


def test_huge_text_is_cut_into_parts_between_paragraphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SINGLE_TEXT_CHARACTERS", 50_000)
    monkeypatch.setattr(limits, "TEXT_PART_CHARACTERS", 10_000)
    rng = random.Random(0)
    paragraphs = [wrapped(paragraph(rng, 900)) for _ in range(200)]
    path = write(tmp_path / "a.txt", "\n\n".join(paragraphs))
    documents, report = read_all(path)
    assert "\n\n".join(document.text for document in documents) == "\n\n".join(paragraphs)
    assert [document.id for document in documents] == [f"a.txt#part-{number + 1}" for number in range(len(documents))]
    assert all(10_000 <= len(document.text) < 12_000 for document in documents[:-1])
    assert any(f"cut into {len(documents)} parts" in line for line in report.lines())
    write(
        path, "\n\n".join([*paragraphs, *paragraphs])
    )  # what is added at the end leaves the parts before as they were
    longer, _ = read_all(path)
    assert [document.text for document in longer[: len(documents) - 1]] == [
        document.text for document in documents[:-1]
    ]


def test_huge_text_without_breaks_is_cut_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SINGLE_TEXT_CHARACTERS", 5_000)
    monkeypatch.setattr(limits, "TEXT_PART_CHARACTERS", 1_000)
    words = " ".join(f"word{number}" for number in range(3000))
    documents, _ = read_all(write(tmp_path / "a.txt", words))
    assert " ".join(document.text for document in documents) == words
    assert all(len(document.text) <= 2_000 for document in documents)
    documents, _ = read_all(write(tmp_path / "b.txt", "x" * 20_000))
    assert "".join(document.text for document in documents) == "x" * 20_000
    with pytest.raises(FormatError, match="white space"):
        read_all(write(tmp_path / "c.txt", " " * 20_000))


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(limits, "MAX_LINE_CHARACTERS", 1000)
    start = {".txt": "", ".csv": "id,text\n1,", ".jsonl": '{"text": "'}[suffix]
    path = write(tmp_path / f"a{suffix}", start + "x" * 1200)
    line = 2 if suffix == ".csv" else 1
    with pytest.raises(FormatError, match=rf"line {line}: the line is longer than 1,000 characters"):
        read_all(path)


def test_limit_of_a_line_is_64_million() -> None:
    assert limits.MAX_LINE_CHARACTERS == 64 * 1024 * 1024


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_document_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(limits, "MAX_DOCUMENT_CHARACTERS", 1000)
    with pytest.raises(FormatError, match="longer than 1,000 characters"):
        read_all(write(tmp_path / f"a{suffix}", "word " * 300))


def test_clean_text() -> None:
    assert clean_text("a\ud800b\0c") == "a\ufffdbc"
    assert clean_text("\ud83d\ude00") == "😀"
    assert clean_text("é😀") == "é😀"
    assert clean_text("a\0b") == "ab"


@pytest.mark.parametrize(
    ("content", "title", "text", "metadata"),
    [
        ("# The head\n\nBody *text*.", "The head", "Body *text*.", {}),
        ("The head\n========\n\nBody", "The head", "Body", {}),
        ("Body without a head\n\n# Later", None, "Body without a head\n\n# Later", {}),
        ("# Only a head", None, "Only a head", {}),
        ("## `code` and [link](http://x) ##\ntext", "code and link", "text", {}),
        ("---\ntitle: From the front\ndate: 2024-05-06\ndraft: true\nn: 3\ntags: [a, b]\n---\nBody",
         "From the front", "Body", {"date": "2024-05-06", "draft": True, "n": 3, "tags": '["a", "b"]'}),
        ("---\ntitle: Same\n---\n\n# Same\n\nBody", "Same", "Body", {}),
        ("---\ntitle: One\n---\n\n# Two\n\nBody", "One", "# Two\n\nBody", {}),
        ("+++\ntitle = 'Toml'\nday = 2024-05-06\n+++\nBody", "Toml", "Body", {"day": "2024-05-06"}),
        ("---\nnot: [valid\n---\nBody", None, "---\nnot: [valid\n---\nBody", {}),
        ("---\na: &x [1]\nb: *x\n---\nBody", None, "---\na: &x [1]\nb: *x\n---\nBody", {}),
        ("---\njust a line\n---\nBody", None, "---\njust a line\n---\nBody", {}),
        ("---\n---\n# Head\nBody", "Head", "Body", {}),
        ("---\n---\nBody", None, "Body", {}),
        ("a\n\n---\n\nb: c\n\n---", None, "a\n\n---\n\nb: c\n\n---", {}),
        ("---\nd: 2024-99-99\n---\nBody", None, "---\nd: 2024-99-99\n---\nBody", {}),
        ("+++\nbroken\n+++\nBody", None, "+++\nbroken\n+++\nBody", {}),
        ("---\ntitle: Nothing else\n---\n", None, "Nothing else", {}),
    ],
)  # fmt: skip
def test_markdown(tmp_path: Path, content: str, title: str | None, text: str, metadata: dict[str, object]) -> None:
    documents, _ = read_all(write(tmp_path / "a.md", content))
    (document,) = documents
    assert (document.id, document.title, document.text) == ("a.md", title, text)
    assert document.metadata == metadata


def test_front_matter_that_is_too_long_is_dropped_with_a_count(tmp_path: Path) -> None:
    documents, report = read_all(write(tmp_path / "a.md", f"---\nlist: [{'1, ' * 3000}1]\n---\nBody"))
    assert documents[0].metadata == {}
    assert report.left_out_counts == {"front matter values too long": 1}


@pytest.mark.parametrize(
    ("markup", "title", "text"),
    [
        ("<title>A &amp; B</title><p>One&nbsp;two<p>three &eacute; &#233; &#xe9;", "A & B", "One two\n\nthree é é é"),
        ("<h1>Head <b>line</b></h1><p>Text", "Head line", "Head line\n\nText"),
        ("<p>a  b\n\tc<br>d<br/>e", None, "a b c\nd\ne"),
        ("<style>p{}</style><script>var a='<p>no</p>';</script><p>yes</p><noscript>no</noscript>", None, "yes"),
        ("<nav><a>Home</a></nav><p>text<button>Buy</button> on</p>", None, "text on"),
        ("<nav><a>Home</a></nav>", None, "Home"),
        ("<p>text</p><nav><a>Home</a><p>never closed", None, "text\n\nHome\n\nnever closed"),
        ("<p hidden>no</p><p style='display: none'>no</p><p aria-hidden=true>no</p><p>yes", None, "yes"),
        ("<p hidden>no<p>yes", None, "yes"),
        ("<ul><li>one<li>two</ul><p>three", None, "one\ntwo\n\nthree"),
        ("<table><tr><td>1<td>2<tr><th>3</th><td>4</table>", None, "1 2\n3 4"),
        ("<!-- no --><!-- <p>no</p> -->yes<!-- never closed <p>no", None, "yes"),
        ("<pre>a\n  b\n    c</pre><p>d   e", None, "a\n  b\n    c\n\nd e"),
        ("<head><title>T</title><meta charset=utf-8><p>body without its tag", "T", "body without its tag"),
        ("<title>never closed<p>text</p>", "never closed", "text"),
        ("a < b and c > d & e <3", None, "a < b and c > d & e <3"),
        ("<div><p>one</div>two</p></b></i>three", None, "one\n\ntwo\n\nthree"),
        ('<a title="x > y">link</a> <a title="unclosed>text</a>', None, 'link text'),
        ('<a title="unclosed>one</a><p class="x">two', None, "one\n\ntwo"),
        ("<p class='a'b\">text</p>", None, "text"),
        ("<p>half a tag at the end <a href='x", None, "half a tag at the end <a href='x"),
        ("<![CDATA[x]]><!DOCTYPE html><?xml version='1.0'?><p>text", None, "text"),
        ("<svg><title>icon</title></svg><p>text", None, "text"),
        ("<template><p>no</template><p>yes<iframe>no</iframe>", None, "yes"),
        ("soft&shy;ly", None, "softly"),
        ("<title>Only a title</title>", "Only a title", ""),
        ("<div/>one<div/>two", None, "one\ntwo"),
        ("&#0;&#xD800;x", None, "\ufffd\ufffdx"),
    ],
)  # fmt: skip
def test_visible_text(markup: str, title: str | None, text: str) -> None:
    assert visible_text(markup) == (title, text)


def test_page_declares_its_encoding(tmp_path: Path) -> None:
    text = SAMPLES["russian, KOI"][0]
    page = f'<html><head><meta http-equiv="Content-Type" content="text/html; charset=KOI8-R"></head><body>{text}'
    documents, report = read_all(write(tmp_path / "a.html", page.encode("koi8-r")))
    assert documents[0].text == text
    assert not report.encodings
    short = '<meta charset="iso-8859-1"><p>“é”'.encode("cp1252")
    assert text_of(write(tmp_path / "b.html", short)) == "“é”"
    wrong = '<meta charset="iso-8859-1"><p>“é”'.encode()
    assert text_of(write(tmp_path / "c.html", wrong)) == "“é”"
    assert (
        text_of(write(tmp_path / "d.html", '<meta charset="no-such-thing"><p>“é” naïve'.encode("cp1252")))
        == "“é” naïve"
    )


def test_page_without_text(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no visible text"):
        read_all(write(tmp_path / "a.html", "<script>1</script><img src=x>"))
    documents, _ = read_all(write(tmp_path / "b.html", "<title>Only a title</title>"))
    assert (documents[0].title, documents[0].text) == (None, "Only a title")


@pytest.mark.parametrize(
    "pattern",
    ["<a ", "<!--", "<", '<a b="', "<p a=", "<a b='\"", "</", "<![", "<script>", '<a b=">', "&", "<nav>", "</b>"],
)
@pytest.mark.parametrize("end", ["", ">", '">'])
def test_broken_markup_takes_linear_time(pattern: str, end: str) -> None:
    started = time.perf_counter()
    visible_text(pattern * (60_000 // len(pattern)) + end)
    assert time.perf_counter() - started < 10  # quadratic parsing takes minutes


def test_deeply_nested_page(tmp_path: Path) -> None:
    assert text_of(write(tmp_path / "a.html", "<div>" * 30_000 + "deep" + "</div>" * 30_000)) == "deep"
