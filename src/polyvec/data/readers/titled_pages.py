"""Pages of titled paragraphs: telling them from ordinary prose, and splitting them.

Such a page (a list of abstracts copied from a web site, a glossary, a catalogue) repeats one pattern: a short line,
the title, directly above one long paragraph, with stray short lines (dates, buttons, names) around. It is split into
one document a title. Ordinary texts must stay whole, so a page is split only when the pattern rules it:

- most long paragraphs (three in four) stand directly below their own title: a book or an essay has several
  paragraphs under one heading;
- titles look like titles: no full stop, comma or colon at the end, a capital or a digit first, mostly letters, not a
  time, a list item, "Chapter 2" or "2.1"; hardly any comes twice (a play's speakers do);
- there are at least 4, or 12 when they are of one to three words, as the headings of an essay are;
- paragraphs are prose and hold three quarters of the page's characters: poems, code, logs and tables do not;
- paragraphs are long (200 characters) and three times as long as the titles.

A paragraph is one unwrapped line, or a block of at least three wrapped lines that are filled evenly. What follows an
entry's paragraph and is not a title (a second paragraph, a full sentence) stays with the entry; only stray short
lines are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

SHORT_CHARACTERS = 150
SHORT_WORDS = 25
LONG_CHARACTERS = 200
UNWRAPPED_CHARACTERS = 160
MIN_TITLES = 4
MIN_SHORT_TITLES = 12
MIN_TITLE_WORDS = 4
MIN_TITLED_SHARE = 0.75
MIN_KEPT_SHARE = 0.75
MIN_DISTINCT_SHARE = 0.9
MAX_NUMBERED_SHARE = 0.5
MIN_LENGTH_RATIO = 3
PROSE_SAMPLE = 2000

_NUMBERED = re.compile(
    r"(chapter|part|section|book|act|scene|canto|letter|appendix|volume|article|stave|lesson|day|week|page)\b"
    r"|§|\d+(\.\d+)*[.)]?(\s|$)|[ivxlc]+[.)]?(\s|$)",
    re.IGNORECASE,
)
_TIME = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\[?\d{1,2}[:/.]\d{2}")
_BULLET = re.compile(r"\s|[-*+•‣·–—>#|=~_/\\;%$@]|\d+[.)]\s")
_OPENING = "\"'“‘«„¿¡([《「『"
_CLOSING = "\"'”’»“)]》」』"


@dataclass(slots=True)
class TitledEntry:
    """A title and the paragraphs below it."""

    title: str
    paragraphs: list[str]

    @property
    def text(self) -> str:
        """The paragraphs, with an empty line between them."""
        return "\n\n".join(self.paragraphs)


@dataclass(slots=True)
class TitledPage:
    """A page that was split: its entries, long paragraphs before the first title, and stray lines left out."""

    entries: list[TitledEntry] = field(default_factory=list)
    untitled: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)


def split_titled_page(text: str) -> TitledPage | None:
    """The titled entries of a page, or `None` when `text` is not such a page and must stay whole."""
    units = list(_units(text.split("\n")))
    if sum(len(unit) >= LONG_CHARACTERS for unit in units) < MIN_TITLES:
        return None
    kinds = [_kind(unit) for unit in units]
    paragraphs = kinds.count("long")
    if paragraphs < MIN_TITLES:
        return None
    page = _split(units, kinds)
    return page if _ruled_by_titles(page, units, paragraphs) else None


def slug(title: str) -> str:
    """A title as a short, readable part of an id: lower case, words joined by `-`."""
    plain = unicodedata.normalize("NFKC", title).casefold()
    return re.sub(r"[^\w]+", "-", plain).strip("-_")[:60].rstrip("-_") or "part"


def _units(lines: list[str]) -> Iterator[str]:
    """The page as single lines and wrapped paragraphs; the latter joined to one line."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            if _is_wrapped(block):
                yield " ".join(part.strip() for part in block)
            else:
                yield from block
            block = []


def _is_wrapped(block: list[str]) -> bool:
    """Whether lines without an empty line between them are one wrapped paragraph of prose."""
    if len(block) < 3 or any(_BULLET.match(line) for line in block):
        return False
    widths = [len(line) for line in block]
    widest = max(widths)
    if not 50 <= widest <= UNWRAPPED_CHARACTERS or min(widths[:-1]) < 0.7 * widest:
        return False
    return not all(line[0].isupper() for line in block)  # verse begins each line with a capital


def _kind(unit: str) -> str:
    if len(unit) <= SHORT_CHARACTERS and len(unit.split()) <= SHORT_WORDS:
        return "short"
    return "long" if len(unit) >= LONG_CHARACTERS and _is_prose(unit) else "medium"


def _is_prose(unit: str) -> bool:
    sample = unit[:PROSE_SAMPLE]
    if unit[0].isspace() or _letters(sample) + sample.count(" ") < 0.75 * len(sample):
        return False
    if _has_unspaced_script(sample):
        return True
    words = sample.split()
    return 3 <= sum(map(len, words)) / len(words) <= 12


def _letters(text: str) -> int:
    """Letters and, as many scripts write vowels so, marks that combine with them."""
    letters = sum(map(str.isalpha, text))
    if not text.isascii():
        letters += sum(unicodedata.category(character).startswith("M") for character in text)
    return letters


def _has_unspaced_script(text: str) -> bool:
    """Whether much of `text` is in a script without spaces between words (Chinese, Japanese, Thai, ...)."""
    if text.isascii():
        return False
    return sum("\u0e00" <= c <= "\u0eff" or "\u3040" <= c <= "\u9fff" for c in text) > 0.3 * len(text)


def _word_count(title: str) -> int:
    return len(title) // 2 if _has_unspaced_script(title) else len(title.split())


def _title_like(line: str) -> bool:
    if line[0].isspace() or "\t" in line or _TIME.match(line):
        return False
    inner = line.rstrip(_CLOSING)
    if (
        not inner
        or inner[-1] in ".,;:…。，、；："
        or (inner != line and line[-1] not in ")]》」』" and inner[-1] in "!?")
    ):
        return False
    if not (line[0].isalnum() or line[0] in _OPENING):
        return False
    first = line.split()[0].strip(_OPENING + _CLOSING)
    if first[:1].islower() and first.islower() and first.isalpha():
        return False
    return _letters(line) + sum(map(str.isdigit, line)) + line.count(" ") >= 0.75 * len(line)


def _split(units: list[str], kinds: list[str]) -> TitledPage:
    page = TitledPage()
    for index, (unit, kind) in enumerate(zip(units, kinds, strict=True)):
        text = unit.strip()
        entry = page.entries[-1] if page.entries else None
        above = kinds[index + 1] == "long" if index + 1 < len(kinds) else False
        if kind == "short" and above and _title_like(unit):
            page.entries.append(TitledEntry(text, []))
        elif kind == "short":
            if entry is not None and _is_sentence(text):
                entry.paragraphs.append(text)
            else:
                page.strays.append(text)
        elif entry is not None:
            entry.paragraphs.append(text)
        elif kind == "long":
            page.untitled.append(text)
        else:
            page.strays.append(text)
    return page


def _is_sentence(line: str) -> bool:
    return len(line.split()) >= 5 and line.rstrip(_CLOSING)[-1:] in (".", "!", "?", "。")


def _ruled_by_titles(page: TitledPage, units: list[str], paragraphs: int) -> bool:
    titles = [entry.title for entry in page.entries]
    count = len(titles)
    if count < MIN_TITLES or count < MIN_TITLED_SHARE * paragraphs:
        return False
    if count < MIN_SHORT_TITLES and median(map(_word_count, titles)) < MIN_TITLE_WORDS:
        return False
    if len({title.casefold() for title in titles}) < MIN_DISTINCT_SHARE * count:
        return False
    if sum(_NUMBERED.match(title) is not None for title in titles) > MAX_NUMBERED_SHARE * count:
        return False
    texts = [entry.text for entry in page.entries]
    if median(map(len, texts)) < MIN_LENGTH_RATIO * median(map(len, titles)):
        return False
    strays = _characters(page.strays)
    return _characters(units) - strays >= MIN_KEPT_SHARE * _characters(units)


def _characters(lines: Iterable[str]) -> int:
    return sum(map(len, lines))
