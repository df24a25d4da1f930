"""Filters: a condition in SQL's syntax is read, its columns are checked, and it is written anew for LanceDB.

LanceDB parses a condition as one expression, which can neither change data nor read files. This reader adds what it
does not do: it refuses a second statement and comments (LanceDB silently ignores what follows a `;` or an extra
bracket), maps metadata keys to their columns, names the columns that exist when one does not, and bounds the size,
since its parser overflows the stack on very deep expressions.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from polyvec.core.errors import InvalidTypeError, InvalidValueError

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--|/\*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d][\w.]*)
    | (?P<operator><=|>=|<>|!=|\|\||[=<>+\-*/%(),])
    """,
    re.VERBOSE,
)
_WORDS = {
    "and", "as", "between", "cast", "escape", "false", "ilike", "in", "is", "like", "not", "null", "or", "true",
}  # fmt: skip
_TYPED_TEXT = {"date", "interval", "time", "timestamp"}

MAX_CHARACTERS = 1_000_000
MAX_KEYWORDS = 500
MAX_ARITHMETIC = 50
MAX_DEPTH = 40

HINT = "; example: section = 'utils' AND year > 2019"


def _problem(reason: str) -> InvalidValueError:
    return InvalidValueError(f"where: {reason}{HINT}")


def _column(name: str, columns: Mapping[str, str]) -> str:
    """The stored column of a name; upper and lower case may differ where that leaves one choice."""
    if name in columns:
        return columns[name]
    alike = [known for known in columns if known.lower() == name.lower()]
    if len(alike) == 1:
        return columns[alike[0]]
    close = difflib.get_close_matches(name, columns, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise InvalidValueError(f"where: there is no column {name!r}{meant}; the columns are: {', '.join(columns)}")


def rewrite_where(where: str, columns: Mapping[str, str]) -> str:
    """The condition with every column replaced by the stored column's quoted name.

    Args:
        where: A condition, for example `section = 'utils' AND year > 2019`. Text stands in single quotes; a column
            whose name is not a plain word stands in double quotes or backticks. Comparisons, `AND`, `OR`, `NOT`, `IN`,
            `BETWEEN`, `LIKE`, `ILIKE`, `IS NULL`, arithmetic, `CAST` and DataFusion's scalar functions work.
        columns: The name that users write -> the stored column's name.

    Raises:
        InvalidTypeError: Not a text.
        InvalidValueError: Empty, too long or too deep, a second statement, a comment, an unknown column.
    """
    if not isinstance(where, str):
        raise InvalidTypeError(f"where: got {type(where).__name__}, needs a text{HINT}")
    if not where.strip():
        raise _problem("is empty; leave it out to search everything")
    if len(where) > MAX_CHARACTERS:
        raise _problem(f"has {len(where):,} characters, at most {MAX_CHARACTERS:,} are possible")
    tokens = _tokens(where)
    _check_size(tokens)
    written = []
    for number, (kind, value) in enumerate(tokens):
        before = tokens[number - 1] if number else ("", "")
        after = tokens[number + 1] if number + 1 < len(tokens) else ("", "")
        if kind == "quoted":
            name = value[1:-1].replace('""', '"') if value[0] == '"' else value[1:-1]
            value = f"`{_column(name, columns)}`"
        elif kind == "word" and not _is_syntax(value, before, after):
            value = f"`{_column(value, columns)}`"
        written.append(value)
    return f"({' '.join(written)})"  # in brackets, so that LanceDB has to read all of it


def _is_syntax(word: str, before: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether a word is part of the language and not a column: a keyword, a function, a type."""
    return (
        word.lower() in _WORDS
        or after == ("operator", "(")
        or (after[0] == "text" and word.lower() in _TYPED_TEXT)
        or (before[0] == "word" and before[1].lower() == "as")
    )


def _tokens(where: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    while position < len(where):
        found = _TOKEN.match(where, position)
        if found is None:
            odd = where[position]
            if odd in "'\"`":
                raise _problem(f"the quote {odd} at character {position + 1} is not closed")
            raise _problem(f"cannot read {odd!r} at character {position + 1}")
        kind = str(found.lastgroup)
        if kind == "comment":
            raise _problem(f"comments are not possible ({found.group()} at character {position + 1})")
        if kind != "space":
            tokens.append((kind, found.group()))
        position = found.end()
    return tokens


def _check_size(tokens: list[tuple[str, str]]) -> None:
    keywords = comparisons = arithmetic = depth = deepest = 0
    for number, (kind, value) in enumerate(tokens):
        if kind == "word":
            keywords += value.lower() in _WORDS - {"false", "null", "true"}
        elif kind == "operator":
            comparisons += value in {"=", "<", ">", "<=", ">=", "<>", "!="}
            arithmetic += value in {"+", "-", "*", "/", "%", "||"} and not _is_sign(tokens, number)
            depth += (value == "(") - (value == ")")
            deepest = max(deepest, depth)
            if depth < 0:
                raise _problem("a bracket is closed that was not opened")
    if depth > 0:
        raise _problem("a bracket is not closed")
    for count, limit, what in (
        (keywords, MAX_KEYWORDS, "keywords (AND, OR, NOT, ...); use IN for lists"),
        (comparisons, MAX_KEYWORDS, "comparisons; use IN for lists"),
        (arithmetic, MAX_ARITHMETIC, "arithmetic operators"),
        (deepest, MAX_DEPTH, "brackets inside each other"),
    ):
        if count > limit:
            raise _problem(f"has {count} and at most {limit} are possible: {what}")


def _is_sign(tokens: list[tuple[str, str]], number: int) -> bool:
    """Whether the minus at `number` is the sign of a literal, as in a list of negative numbers."""
    if tokens[number][1] != "-" or number == 0 or number + 1 == len(tokens):
        return False
    before = tokens[number - 1]
    return before[0] == "operator" and before[1] in {"(", ","} and tokens[number + 1][0] == "number"
