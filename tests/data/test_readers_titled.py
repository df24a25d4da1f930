"""Pages of titled paragraphs are split; ordinary texts stay whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from readers_support import paragraph, read_all, sentence, title, wrapped, write

from polyvec.core.errors import FormatError
from polyvec.data.readers.titled_pages import slug, split_titled_page


def titled_page(
    count: int, seed: int = 0, *, blank: str = "\n\n", characters: int = 600
) -> tuple[str, list[tuple[str, str]]]:
    rng = random.Random(seed)
    entries = [(title(rng), paragraph(rng, characters)) for _ in range(count)]
    return blank.join(f"{name}{blank}{text}" for name, text in entries), entries


@pytest.mark.parametrize("count", [4, 5, 40])
@pytest.mark.parametrize("blank", ["\n\n", "\n", "\r\n\r\n", "\n\n\n\n"])
def test_page_is_split_at_its_titles(tmp_path: Path, count: int, blank: str) -> None:
    page, entries = titled_page(count, blank=blank)
    strays = ["new", "Sign up for our letter", "by Ann and friends", "Mar 17"]
    text = blank.join([*strays, page, "Next page", "About us"])
    documents, report = read_all(write(tmp_path / "page.txt", text))
    assert [(document.title, document.text) for document in documents] == entries
    assert [document.id for document in documents] == [f"page.txt#{slug(name)}" for name, _ in entries]
    assert {document.source for document in documents} == {"page.txt"}
    assert report.left_out["page.txt"]["stray lines"].count == 6
    assert any(f"{count} titled documents" in line for line in report.lines())
    assert any("6 stray lines" in line and '"Mar 17"' in line for line in report.lines())


def test_stray_lines_between_entries_are_left_out_and_counted(tmp_path: Path) -> None:
    rng = random.Random(1)
    entries = [(title(rng), paragraph(rng, 900)) for _ in range(20)]
    text = "\n".join(
        f"Upvote\n{number}\nApr {number + 1}\n\n{name}\n\n{body}\n" for number, (name, body) in enumerate(entries)
    )
    documents, report = read_all(write(tmp_path / "page.txt", text))
    assert [(document.title, document.text) for document in documents] == entries
    assert report.left_out["page.txt"]["stray lines"].count == 60


def test_second_paragraphs_stay_with_their_title() -> None:
    rng = random.Random(2)
    parts, expected = [], []
    for number in range(12):
        name, first = title(rng), paragraph(rng)
        bodies = [first, paragraph(rng)] if number % 5 == 0 else [first]
        bodies += [sentence(rng)] if number % 4 == 0 else []
        parts += [name, *bodies]
        expected.append((name, "\n\n".join(bodies)))
    page = split_titled_page("\n\n".join(parts))
    assert page is not None
    assert [(entry.title, entry.text) for entry in page.entries] == expected
    assert not page.strays


def test_long_paragraph_before_the_first_title_is_kept(tmp_path: Path) -> None:
    page, entries = titled_page(10)
    opening = paragraph(random.Random(9))
    documents, _ = read_all(write(tmp_path / "page.txt", f"{opening}\n\n{page}"))
    assert documents[0].text == opening
    assert documents[0].title is None
    assert len(documents) == len(entries) + 1


def test_titles_in_the_styles_of_real_pages_are_recognised() -> None:
    names = [
        "wav2vec 2.0: A Framework for Learning Speech",
        "Are Current Architectures too Homogeneous and Rigid?",
        "GIST (small): Guided Selection of Negatives",
        "Ladder-residual: parallelism-aware architecture for large models",
        "3D Elevating Representation with Joint Cues",
        '"Attention" Is Not All You Need',
    ]
    rng = random.Random(3)
    page = split_titled_page("\n\n".join(f"{name}\n\n{paragraph(rng)}" for name in names))
    assert page is not None
    assert [entry.title for entry in page.entries] == names


def test_wrapped_paragraphs_are_joined() -> None:
    rng = random.Random(4)
    entries = [(title(rng), paragraph(rng)) for _ in range(8)]
    page = split_titled_page("\n\n".join(f"{name}\n\n{wrapped(body)}" for name, body in entries))
    assert page is not None
    assert [(entry.title, entry.text) for entry in page.entries] == entries


def test_page_in_a_script_without_spaces() -> None:
    names = [
        "深度学习中的表示方法研究",
        "大规模图神经网络的训练",
        "向量检索系统的设计与实现",
        "多模态模型的统一嵌入空间",
        "推荐系统中的哈希方法",
    ]
    body = "本文研究了大规模数据下的表示学习问题并提出了一种新的方法" * 12
    page = split_titled_page("\n\n".join(f"{name}\n\n{body}{name}。" for name in names))
    assert page is not None
    assert [entry.title for entry in page.entries] == names


def test_glossary_of_short_titles_is_split_but_an_essay_with_as_short_headings_is_not() -> None:
    rng = random.Random(5)
    words = ["Apple", "Bridge", "Candle", "Desert", "Engine", "Forest", "Glacier", "Harbour", "Island", "Jungle",
             "Kettle", "Lantern", "Meadow", "Needle", "Orchard"]  # fmt: skip
    page = split_titled_page("\n\n".join(f"{word}\n\n{paragraph(rng)}" for word in words))
    assert page is not None
    assert [entry.title for entry in page.entries] == words
    essay = ["Introduction", "Related work", "Method", "Results", "Discussion", "Conclusion"]
    assert split_titled_page("\n\n".join(f"{name}\n\n{paragraph(rng)}" for name in essay)) is None


def test_repeated_titles_get_ids_of_their_own(tmp_path: Path) -> None:
    rng = random.Random(6)
    names = [title(rng) for _ in range(30)]
    names[7] = names[3]
    names[5] = f"{names[3]} 2"  # whose slug is what the repeated title would naturally become
    text = "\n\n".join(f"{name}\n\n{paragraph(rng)}" for name in names)
    documents, _ = read_all(write(tmp_path / "page.txt", text))
    assert [document.title for document in documents] == names
    assert len({document.id for document in documents}) == 30


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A Title: of 2 Things!", "a-title-of-2-things"),
        ("Überraschung im Süden", "überraschung-im-süden"),
        ("***", "part"),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


def prose_unwrapped(rng: random.Random) -> str:
    return "\n\n".join(paragraph(rng, rng.randrange(200, 900)) for _ in range(40))


def prose_wrapped(rng: random.Random) -> str:
    return "\n\n".join(wrapped(paragraph(rng, rng.randrange(80, 900))) for _ in range(40))


def email(rng: random.Random) -> str:
    body = "\n\n".join(wrapped(paragraph(rng, 500)) for _ in range(6))
    head = "From: Ann <ann@example.org>\nTo: Bob\nSubject: Plans"
    return f"{head}\n\nHi Bob,\n\n{body}\n\nKind regards\n\nAnn\n\n-- \nAnn Example\n"


def mail_thread(rng: random.Random) -> str:
    return "\n".join(email(rng) + "\n> " + wrapped(paragraph(rng)).replace("\n", "\n> ") + "\n" for _ in range(8))


def book(rng: random.Random) -> str:
    chapters = []
    for number in range(1, 21):
        body = "\n\n".join(wrapped(paragraph(rng, rng.randrange(200, 900))) for _ in range(12))
        chapters.append(f"CHAPTER {number}\n\nOf the {title(rng)}\n\n{body}")
    return "\n\n\n".join(chapters)


def book_of_one_paragraph_chapters(rng: random.Random) -> str:
    return "\n\n".join(f"Chapter {number}. {title(rng)}\n\n{paragraph(rng)}" for number in range(1, 31))


def numbered_sections(rng: random.Random) -> str:
    return "\n\n".join(f"{1 + number // 3}.{number % 3 + 1} {title(rng)}\n\n{paragraph(rng)}" for number in range(24))


def poems(rng: random.Random) -> str:
    stanzas = []
    for _ in range(20):
        stanzas.append(title(rng, 4))
        stanzas += ["\n".join(sentence(rng)[:44].capitalize() for _ in range(4)) for _ in range(4)]
    return "\n\n".join(stanzas)


def sonnets(rng: random.Random) -> str:
    lines = ["\n".join(sentence(rng)[:60] for _ in range(14)) for _ in range(20)]
    return "\n\n".join(f"{title(rng, 5)}\n\n{poem}" for poem in lines)


def novel_with_dialogue(rng: random.Random) -> str:
    parts = []
    for _ in range(60):
        parts += [
            rng.choice(["“Yes,” she said.", "“Where is the boat?”", "He did not answer.", "“No!”"]),
            paragraph(rng, 400),
        ]
    return "\n\n".join(parts)


def play(rng: random.Random) -> str:
    return "\n\n".join(
        f"{rng.choice(['Anna of the Narrow Harbour', 'Old Peter from the Mill', 'The Teacher'])}\n\n{paragraph(rng)}"
        for _ in range(40)
    )


def source_code(rng: random.Random) -> str:
    functions = []
    for number in range(30):
        text = paragraph(rng, 300)
        functions.append(
            f'def function_{number}(value):\n    """{text}"""\n    table = {{"a": [1, 2, 3]}}\n\n    return value'
        )
    return "import os\n\n\n" + "\n\n\n".join(functions)


def log_lines(rng: random.Random) -> str:
    lines = []
    for number in range(200):
        lines.append(f"2026-01-01 10:{number % 60:02d}:00 INFO request number {number} accepted")
        lines.append(f"2026-01-01 10:{number % 60:02d}:01 DEBUG {paragraph(rng, 300)}")
    return "\n".join(lines)


def changelog(rng: random.Random) -> str:
    return "\n\n".join(
        f"Version {number}.0 of the Great Toolkit\n\n" + "\n".join(f"- {sentence(rng)}" for _ in range(5))
        for number in range(20)
    )


def article(rng: random.Random) -> str:
    sections = [f"{title(rng)}\n\n" + "\n\n".join(paragraph(rng) for _ in range(4)) for _ in range(8)]
    return "\n\n".join(sections)


def bulleted(rng: random.Random) -> str:
    return "\n\n".join(f"- {title(rng)}\n\n  {paragraph(rng)}" for _ in range(12))


def table(rng: random.Random) -> str:
    return "\n".join(f"{number}\t{title(rng)}\t{paragraph(rng, 250)}" for number in range(30))


def letters_of_genes(rng: random.Random) -> str:
    return "\n".join(f">sequence {number}\n{''.join(rng.choices('ACGT', k=400))}" for number in range(20))


def short_and_longer_lines(rng: random.Random) -> str:
    return "\n\n".join(f"{title(rng, 15)}\n\n{paragraph(rng, 220)}" for _ in range(20))


def titled_data(rng: random.Random) -> str:
    rows = ["{" + ", ".join(f'"{rng.randrange(10**6)}": {rng.random()}' for _ in range(20)) + "}" for _ in range(10)]
    blobs = ["".join(rng.choices("ABCDEFGHabcdefgh", k=400)) for _ in range(10)]
    return "\n\n".join(f"{title(rng)}\n\n{body}" for body in rows + blobs)


def titled_free_verse(rng: random.Random) -> str:
    poems = ["\n".join(sentence(rng).lower()[: rng.randrange(15, 75)] for _ in range(12)) for _ in range(20)]
    return "\n\n".join(f"{title(rng, 5)}\n\n{poem}" for poem in poems)


def titled_remarks(rng: random.Random) -> str:
    return "\n\n".join(f"{title(rng, 4)}\n\n{paragraph(rng, 400)[: rng.randrange(160, 190)]}" for _ in range(20))


@pytest.mark.parametrize(
    "make",
    [prose_unwrapped, prose_wrapped, email, mail_thread, book, book_of_one_paragraph_chapters, numbered_sections, poems,
     sonnets, novel_with_dialogue, play, source_code, log_lines, changelog, article, bulleted, table, letters_of_genes,
     short_and_longer_lines, titled_data, titled_free_verse, titled_remarks],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_text_is_one_document(tmp_path: Path, make, seed: int) -> None:  # type: ignore[no-untyped-def]
    text = make(random.Random(seed))
    documents, report = read_all(write(tmp_path / "text.txt", text))
    assert [document.text for document in documents] == [text.strip()]
    assert documents[0].id == "text.txt"
    assert not report.left_out


def test_three_titled_paragraphs_stay_together() -> None:
    assert split_titled_page(titled_page(3)[0]) is None
    assert split_titled_page(titled_page(4)[0]) is not None


def test_page_with_too_much_around_it_stays_whole() -> None:
    page, entries = titled_page(10, characters=400)
    chatter = "\n\n".join(f"Short remark {number}" for number in range(400))
    assert split_titled_page(f"{page}\n\n{chatter}") is None
    assert len(entries) == 10


def test_logs_and_rst_are_never_split(tmp_path: Path) -> None:
    page, _ = titled_page(10)
    for suffix in (".log", ".rst"):
        documents, _ = read_all(write(tmp_path / f"page{suffix}", page))
        assert len(documents) == 1


def test_empty_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="white space"):
        read_all(write(tmp_path / "page.txt", " \n\n\t\n"))
