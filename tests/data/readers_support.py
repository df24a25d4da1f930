"""Made-up texts and files for the tests of the readers."""

from __future__ import annotations

import io
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyvec.data.documents import Document
from polyvec.data.readers import ReadReport, read

NOUNS = [
    "river",
    "mountain",
    "garden",
    "winter",
    "letter",
    "harbour",
    "teacher",
    "machine",
    "village",
    "summer",
    "orchard",
    "bridge",
    "storm",
    "valley",
]
VERBS = [
    "crosses",
    "follows",
    "remembers",
    "measures",
    "paints",
    "repairs",
    "describes",
    "visits",
    "carries",
    "watches",
    "studies",
    "shelters",
]
ADJECTIVES = [
    "quiet",
    "old",
    "narrow",
    "bright",
    "hidden",
    "patient",
    "distant",
    "careful",
    "frozen",
    "gentle",
    "broken",
    "golden",
    "restless",
]


def sentence(rng: random.Random) -> str:
    subject, thing = rng.choice(NOUNS), rng.choice(NOUNS)
    words = ["the", rng.choice(ADJECTIVES), subject, rng.choice(VERBS), "a", rng.choice(ADJECTIVES), thing]
    words += ["near", "the", rng.choice(NOUNS), "while", "the", rng.choice(NOUNS), rng.choice(VERBS), "it"]
    return " ".join(words).capitalize() + "."


def paragraph(rng: random.Random, characters: int = 600) -> str:
    text = sentence(rng)
    while len(text) < characters:
        text += " " + sentence(rng)
    return text


def title(rng: random.Random, words: int = 6) -> str:
    chosen = [rng.choice([*ADJECTIVES, *NOUNS]).capitalize() for _ in range(words - 1)]
    return " ".join([*chosen, rng.choice(NOUNS)]) + f" {rng.randrange(100, 1000)}"


def wrapped(text: str, width: int = 72) -> str:
    return textwrap.fill(text, width)


def read_all(sources: Any, **options: Any) -> tuple[list[Document], ReadReport]:
    report = options.pop("report", None) or ReadReport()
    return list(read(sources, report=report, **options)), report


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def pdf_bytes(pages: Sequence[str], *, heading: str = "", author: str = "", password: str | None = None) -> bytes:
    """A PDF with one line of text a page; `password` encrypts it ("" is a password that opens by itself)."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    encryption = None if password is None else StandardEncryption(password, ownerPassword="owner")
    canvas = Canvas(buffer, encrypt=encryption, invariant=True)
    if heading:
        canvas.setTitle(heading)
    if author:
        canvas.setAuthor(author)
    for page in pages:
        if page:
            canvas.drawString(72, 720, page)
        else:
            canvas.rect(72, 72, 200, 200, fill=1)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()
