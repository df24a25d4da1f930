"""Debian control files: stanzas of `Field: value` lines, and the relations inside their values."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAME_END = re.compile(r"[\s(:\[<]")


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of a control file; a continued value keeps its line breaks, less the space that each begins with."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            if not line:
                continue
            if line[0] in " \t":
                if name:
                    fields[name] += "\n" + line[1:]
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def relations(value: str) -> list[tuple[int, int, str, str]]:
    """`(group, alternative, package, version constraint)` of a relation field such as `Depends`.

    Groups are separated by commas and all needed; the alternatives of a group by bars, the first is the preferred one.
    """
    found = []
    for group, part in enumerate(value.split(",")):
        for alternative, choice in enumerate(part.split("|")):
            name = _NAME_END.split(choice.strip(), maxsplit=1)[0]
            if name:
                bound = choice.partition("(")[2].partition(")")[0].strip()
                found.append((group, alternative, name, bound))
    return found


def paragraphs(description: str) -> str:
    """The long part of a description as plain text: wrapped lines joined, blocks separated by an empty line.

    In a control file a line of a single dot is an empty line, and a line that begins with a further space stands
    alone.
    """
    blocks: list[list[str]] = [[]]
    for line in description.split("\n"):
        if line.strip() == ".":
            blocks.append([])
        elif line.startswith((" ", "\t")):
            blocks[-1].append("\n" + line.strip())
        elif line.strip():
            # a list item may stand without the extra space; it keeps its own line too
            lead = "\n" if line.startswith(("* ", "- ", "o ")) else " "
            blocks[-1].append(lead + line.strip())
    return "\n\n".join(text for block in blocks if (text := "".join(block).strip()))
