"""HTML: the visible text of a page and its title, however broken the markup is."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import BinaryIO

from polyvec.core.errors import FormatError
from polyvec.data.documents import Document
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.encodings import clean_text, find_encoding, open_text
from polyvec.data.readers.lines import read_whole, require_words
from polyvec.data.readers.opening import open_binary
from polyvec.data.readers.source_file import SourceFile, printable

UNSEEN = frozenset(
    {"script", "style", "template", "noscript", "svg", "math", "canvas", "iframe", "object", "audio", "video", "head"}
)
"""Elements whose content no reader of a page sees as text."""

HEAD_CONTENT = frozenset({"title", "meta", "link", "base", "style", "script", "noscript", "template", "object"})

FURNITURE = frozenset({"nav", "menu", "dialog", "select", "datalist", "button"})
"""Elements around the text rather than of it; kept when the page has no other text."""

NEVER_TEXT = frozenset({"script", "style", "template", "head"})
"""All that is left out of a page whose other elements cannot be told apart, because one is never closed."""

VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
PARAGRAPHS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "table", "ul", "ol", "dl", "section", "article",
     "hr", "figure", "header", "footer", "main", "aside", "form", "details", "address", "fieldset"}
)  # fmt: skip
LINES = frozenset({"div", "li", "tr", "br", "dt", "dd", "caption", "figcaption", "summary", "legend", "option", "body"})
CELLS = frozenset({"td", "th"})
CLOSED_BY_NEXT = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "option"})
"""Elements whose end tag may be missing: the next of the same kind ends them."""

_DROPPED = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|noscript)\b[^<>]*>.*?(?:</\1[^<>]*>|\Z)|<[!?][^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
_MARKUP = re.compile(
    r"""<(?:(/?[a-zA-Z](?>[^<>"']++|"[^"<>]*+"|'[^'<>]*+'|"[^"]*+"(?=[\s/>])|'[^']*+'(?=[\s/>]))*+>)"""
    r"""|(/?[a-zA-Z][^\s<>/"']*+)[^<>]*+>)?"""
)
_CHARSET = re.compile(rb"""<meta[^>]{0,512}?charset\s{0,8}=\s{0,8}["']?\s{0,8}([a-zA-Z0-9_.:-]{2,40})""", re.IGNORECASE)
_WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
"""What browsers take instead of the encoding that a page declares."""


def read_web_page(file: SourceFile, context: ReadContext) -> Iterator[Document]:
    """The one document of an HTML file; its title is the page's title, else its first top heading."""
    with open_binary(file, context) as raw:
        encoding = find_encoding(raw, file, context, declared_encoding(raw))
        markup = read_whole(open_text(raw, encoding), file)
    require_words(markup, file)
    try:
        title, text = visible_text(markup)
    except (ValueError, AssertionError, IndexError, TypeError, RecursionError) as error:
        raise FormatError(f"{printable(file.path)} cannot be parsed as HTML: {error}") from error
    if not text and not title:
        raise FormatError(f"{printable(file.path)} has no visible text")
    yield Document(file.id_prefix, text or title or "", title if text else None, file.source)


def declared_encoding(raw: BinaryIO) -> str | None:
    """The encoding that the first bytes of a page declare, as browsers understand it; `None` if unknown to Python."""
    raw.seek(0)
    found = _CHARSET.search(raw.read(4096))
    if not found:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
        "a".encode(name)
    except (LookupError, ValueError):
        return None
    return _WIDER.get(name, name)


def visible_text(markup: str) -> tuple[str | None, str]:
    """`(title, text)` of a page: entities decoded, one empty line between paragraphs, white space collapsed."""
    # The standard parser takes quadratic time over tags that never end, so it only gets to see whole tags.
    markup = _MARKUP.sub(_repaired, _DROPPED.sub(" ", markup))
    page = _parse(markup, UNSEEN | FURNITURE)
    if page.swallowed or not page.text:  # an element that is never closed, or nothing but furniture
        page = _parse(markup, NEVER_TEXT)
    return page.title, page.text


def _repaired(found: re.Match[str]) -> str:
    """A tag as it is; one whose quotes do not match without attributes; a lone `<` as text."""
    if found[1]:
        return found[0]
    return f"<{found[2]}>" if found[2] else "&lt;"


def _parse(markup: str, left_out: frozenset[str]) -> _VisibleText:
    parser = _VisibleText(left_out)
    parser.feed(markup)
    parser.close()
    return parser


class _VisibleText(HTMLParser):
    def __init__(self, left_out: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.swallowed = False
        self._left_out = left_out
        self._open: list[tuple[str, bool]] = []
        self._open_count: Counter[str] = Counter()
        self._hidden = 0
        self._pieces: list[str] = []
        self._titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._collecting: str | None = None

    @property
    def title(self) -> str | None:
        for pieces in self._titles.values():
            title = " ".join(clean_text("".join(pieces)).split())
            if title:
                return title
        return None

    @property
    def text(self) -> str:
        text = clean_text("".join(self._pieces)).replace("\xa0", " ").replace("\xad", "")
        lines: list[str] = []
        for line in text.split("\n"):
            shown = line[1:].rstrip() if line.startswith("\x01") else " ".join(line.split())
            if shown or (lines and lines[-1]):
                lines.append(shown)
        return "\n".join(lines).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in CLOSED_BY_NEXT and self._open and self._open[-1][0] == tag:
            self._close_last()
        if tag in PARAGRAPHS:
            while self._open and self._open[-1][0] == "p":
                self._close_last()
        if tag not in HEAD_CONTENT:
            while self._open_count["head"] and self._open[-1][0] in ("title", "head"):
                self._close_last()
        if self._collecting and (tag in PARAGRAPHS or tag in LINES):
            self._collecting = None
        if not self._titles.get(tag, True) and not (self._open_count["svg"] if tag == "title" else self._hidden):
            self._collecting = tag
        self._separate(tag)
        if tag not in VOID:
            hidden = tag in self._left_out or _is_hidden(attrs)
            self._open.append((tag, hidden))
            self._open_count[tag] += 1
            self._hidden += hidden

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            self._separate(tag)
        else:  # browsers read <div/> as <div>
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._open_count[tag]:
            while self._open[-1][0] != tag:
                self._close_last(forced=True)
            self._close_last()
        else:
            self._separate(tag, end=True)
        if tag == self._collecting:
            self._collecting = None

    def handle_data(self, data: str) -> None:
        if self._collecting:
            self._titles[self._collecting].append(data)
        if self._hidden or self._collecting == "title":
            return
        pre = self._open_count["pre"] > 0
        self._pieces.append(data.replace("\n", "\n\x01") if pre else re.sub(r"\s+", " ", data))

    def close(self) -> None:
        super().close()
        while self._open:
            self._close_last(forced=True)

    def _close_last(self, forced: bool = False) -> None:
        tag, hidden = self._open.pop()
        self.swallowed |= forced and tag in self._left_out and tag not in NEVER_TEXT
        self._open_count[tag] -= 1
        self._hidden -= hidden
        if tag in PARAGRAPHS or tag in CELLS:
            self._separate(tag, end=True)

    def _separate(self, tag: str, end: bool = False) -> None:
        if self._hidden:
            return
        if tag in PARAGRAPHS:
            self._pieces.append("\n\n\x01" if tag == "pre" and not end else "\n\n")
        elif tag in LINES:
            self._pieces.append("\n")
        elif tag in CELLS:
            self._pieces.append(" ")


def _is_hidden(attrs: list[tuple[str, str | None]]) -> bool:
    for name, value in attrs:
        if name == "hidden" and (value or "").lower() != "until-found":
            return True
        if name == "aria-hidden" and (value or "").lower() == "true":
            return True
        if name == "style" and value and re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", value, re.IGNORECASE):
            return True
    return False
