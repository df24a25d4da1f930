"""Which encoding a text file has, and whether it is text at all.

A file is looked through once before it is read, in blocks: so a byte in the last line that is not UTF-8 is known
before the first document is made, at about a second for a gigabyte.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from polyvec.core.errors import FormatError, InvalidTypeError, InvalidValueError
from polyvec.data.readers.context import ReadContext
from polyvec.data.readers.limits import BLOCK_BYTES
from polyvec.data.readers.source_file import SourceFile, printable

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
)

COMMON_ENCODINGS = [
    "cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp866", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "cp874", "cp932", "euc_jp", "gb18030", "big5", "cp949", "mac_roman",
]  # fmt: skip
"""Only these are guessed: rarer ones win by chance on short texts more often than they are right."""

GUESS_BYTES = 1 << 16
MAX_CONTROL_SHARE = 0.05
MAX_DAMAGED_SHARE = 0.1

_CONTROLS = re.compile("[\x01-\x07\x0e-\x19\x1c-\x1f\x7f-\x84\x86-\x9f]")
_CONTROL_BYTES = bytes(code for code in range(1, 128) if _CONTROLS.match(chr(code)))
_UNSAFE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How to decode a file; `errors` is "replace" for UTF-8 with a few damaged bytes."""

    name: str
    errors: str = "strict"


def check_encoding(encoding: str | None) -> None:
    """Raise unless `encoding` is `None` or the name of a text encoding that Python knows."""
    if encoding is None:
        return
    if not isinstance(encoding, str):
        raise InvalidTypeError(f"encoding must be a name such as 'utf-8' or 'cp1252', got {type(encoding).__name__}")
    try:
        known = codecs.lookup(encoding)
        "a".encode(known.name)
    except (LookupError, ValueError) as error:
        raise InvalidValueError(
            f"encoding {encoding!r} is not known; use a name such as 'utf-8' or 'cp1252'"
        ) from error


def clean_text(text: str) -> str:
    """`text` without what cannot be stored: half surrogates become U+FFFD, NUL characters go."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    if not _UNSAFE.search(text):
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def find_encoding(raw: BinaryIO, file: SourceFile, context: ReadContext, declared: str | None = None) -> TextEncoding:
    """The encoding of an open file, which is left at its start.

    In this order: the one the user gave, a byte order mark, UTF-8 when all of the file is valid, the one that the
    file itself `declared`, UTF-8 with a few damaged bytes, a guess.

    Raises:
        FormatError: The file is not text, is not in the encoding that was given, or no encoding fits.
    """
    try:
        return _find(raw, file, context, declared)
    finally:
        raw.seek(0)


def _find(raw: BinaryIO, file: SourceFile, context: ReadContext, declared: str | None) -> TextEncoding:
    name = printable(file.path)
    raw.seek(0)
    start = raw.read(16)
    marked = next((encoding for mark, encoding in MARKS if start.startswith(mark)), None)
    chosen = context.encoding or marked
    if chosen is not None and codecs.lookup(chosen).name == "utf-8" and marked == "utf-8-sig":
        chosen = marked
    if chosen is None:
        for signature, kind in SIGNATURES:
            if start.startswith(signature):
                raise FormatError(
                    f"{name} is {kind}, not text, whatever its name says; give it the right suffix or convert it"
                )
        chosen = "utf-8"
        forced = False
    else:
        forced = True
    survey = _survey(raw, chosen)
    if survey.nul is not None:
        raise FormatError(f"{name} is not text: there is a NUL byte near byte {survey.nul:,}; is it a binary file?")
    if survey.broken is None:
        _require_text(survey, name)
        return TextEncoding(chosen)
    if forced:
        raise FormatError(
            f"{name} is not valid {chosen}: a byte near byte {survey.broken:,} does not fit; give its true encoding"
        )
    if declared is not None and _fits(raw, declared):
        return TextEncoding(declared)
    damage = _utf8_damage(raw)
    if damage is not None:
        if context.on_error == "raise":
            raise FormatError(f"{name} is UTF-8 with damaged bytes, the first near byte {survey.broken:,}; repair it")
        context.report.leave_out(file.source, "damaged characters", damage)
        return TextEncoding("utf-8", "replace")
    for guess in _guesses(raw, survey.broken):
        if _fits(raw, guess):
            context.report.guessed(file.source, guess)
            return TextEncoding(guess)
    raise FormatError(f"{name} is not text in any encoding that was tried; if it is text, give its encoding")


@dataclass(slots=True)
class _Survey:
    characters: int = 0
    controls: int = 0
    nul: int | None = None
    broken: int | None = None


def _blocks(raw: BinaryIO) -> Iterator[bytes]:
    raw.seek(0)
    while block := raw.read(BLOCK_BYTES):
        yield block


def _survey(raw: BinaryIO, encoding: str) -> _Survey:
    """Decode the whole file and count; stops at the first NUL or byte that does not fit."""
    survey = _Survey()
    decoder = codecs.getincrementaldecoder(encoding)()
    is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    position = 0
    try:
        for block in _blocks(raw):
            text = decoder.decode(block)
            if is_utf8:  # counted in the bytes, many times faster
                survey.characters += len(text)
                survey.controls += len(block) - len(block.translate(None, _CONTROL_BYTES))
                if b"\0" in block:
                    survey.nul = position + block.index(b"\0")
            else:
                _count(survey, text, position)
            if survey.nul is not None:
                return survey
            position += len(block)
        _count(survey, decoder.decode(b"", final=True), position)
    except UnicodeDecodeError as error:
        survey.broken = position + error.start
        if b"\0" in error.object and error.start > error.object.index(b"\0"):
            survey.nul = position + error.object.index(b"\0")
    except UnicodeError:  # codecs such as "idna" and "utf-16" raise the base class
        survey.broken = position
    return survey


def _count(survey: _Survey, text: str, position: int) -> None:
    survey.characters += len(text)
    survey.controls += len(_CONTROLS.findall(text))
    if "\0" in text:
        survey.nul = position + text.index("\0")


def _require_text(survey: _Survey, name: str) -> None:
    if survey.controls > MAX_CONTROL_SHARE * survey.characters:
        raise FormatError(
            f"{name} is not text: {survey.controls:,} of {survey.characters:,} characters are control codes"
        )


def _fits(raw: BinaryIO, encoding: str) -> bool:
    survey = _survey(raw, encoding)
    good = survey.broken is None and survey.nul is None
    return good and survey.controls <= MAX_CONTROL_SHARE * survey.characters


def _utf8_damage(raw: BinaryIO) -> int | None:
    """How many characters are damaged when the file is UTF-8 for the most part, else `None`."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    damaged = beyond_ascii = controls = characters = 0
    for block in _blocks(raw):
        if b"\0" in block:
            return None
        text = decoder.decode(block)
        characters += len(text)
        damaged += text.count("\ufffd") - block.count(b"\xef\xbf\xbd")
        beyond_ascii += len(text) - len(text.encode("ascii", "ignore"))
        controls += len(_CONTROLS.findall(text))
    damaged += decoder.decode(b"", final=True).count("\ufffd")
    whole = beyond_ascii - damaged
    if controls > MAX_CONTROL_SHARE * characters or damaged > MAX_DAMAGED_SHARE * whole:
        return None
    return max(damaged, 1)


def _guesses(raw: BinaryIO, broken: int) -> list[str]:
    """Encodings to try, likeliest first, from the start of the file and the surroundings of the first odd byte."""
    from charset_normalizer import from_bytes

    raw.seek(0)
    sample = raw.read(GUESS_BYTES)
    if broken > GUESS_BYTES // 2:
        raw.seek(max(0, broken - GUESS_BYTES // 4))
        sample = raw.read(GUESS_BYTES)
    matches = list(from_bytes(sample, cp_isolation=COMMON_ENCODINGS))
    # Western text reads almost as well by the Central European and Baltic tables; being far more common, it gets a
    # head start, small enough that letters typical of a language outweigh it.
    matches.sort(key=lambda match: match.chaos - match.coherence - 0.03 * (match.encoding == "cp1252"))
    guesses = [match.encoding for match in matches]
    return [*guesses, *(name for name in ("cp1252", "latin-1") if name not in guesses)]


def open_text(raw: BinaryIO, encoding: TextEncoding, *, newline: str | None = None) -> io.TextIOWrapper:
    """A text stream over an open file; `newline=None` turns every kind of line end into a line feed."""
    return io.TextIOWrapper(raw, encoding=encoding.name, errors=encoding.errors, newline=newline)
