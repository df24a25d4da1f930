"""PDF: text, title, pages; encrypted, scanned and broken files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from readers_support import pdf_bytes, read_all, write

from polyvec.core.errors import FormatError

PAGES = ["The first page has words", "The second page has others", "The third page ends"]


def test_pages_make_one_document(tmp_path: Path) -> None:
    (document,), report = read_all(
        write(tmp_path / "a.pdf", pdf_bytes(PAGES, heading="A heading", author="Ann Example"))
    )
    assert (document.id, document.title, document.source) == ("a.pdf", "A heading", "a.pdf")
    assert document.text == "\n\n".join(PAGES)
    assert document.metadata == {"pages": 3, "author": "Ann Example"}
    assert not report.left_out


@pytest.mark.parametrize("heading", ["untitled", "report.doc", ""])
def test_title_that_says_nothing_is_none(tmp_path: Path, heading: str) -> None:
    (document,), _ = read_all(write(tmp_path / "a.pdf", pdf_bytes(PAGES, heading=heading)))
    assert document.title is None


def test_encrypted_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="needs a password"):
        read_all(write(tmp_path / "a.pdf", pdf_bytes(PAGES, password="secret")))
    (document,), _ = read_all(write(tmp_path / "b.pdf", pdf_bytes(PAGES, password="")))
    assert document.text == "\n\n".join(PAGES)


def test_scan_without_text_is_skipped_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "a.pdf", pdf_bytes(["", ""]))
    write(tmp_path / "b.pdf", pdf_bytes(["", "words"]))
    documents, report = read_all(tmp_path)
    assert [document.text for document in documents] == ["words"]
    assert "none of its 2 pages has text (is it a scan?)" in report.skipped[0].reason
    with pytest.raises(FormatError, match="OCR"):
        read_all(tmp_path, on_error="raise")


@pytest.mark.parametrize("damage", ["cut", "middle", "no header", "header only", "text", "zeros"])
def test_broken_file(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = pdf_bytes(PAGES)
    content = {
        "cut": whole[:200],
        "middle": whole[: len(whole) // 3],
        "no header": whole[20:],
        "header only": b"%PDF-1.4\n",
        "text": b"words that are no PDF",
        "zeros": b"%PDF-1.4\n" + bytes(5000),
    }[damage]
    with caplog.at_level(logging.DEBUG), pytest.raises(FormatError, match=r"a\.pdf") as caught:
        read_all(write(tmp_path / "a.pdf", content), on_error="raise")
    assert "\n" not in str(caught.value)
    assert not [
        record for record in caplog.records if record.name.startswith("pypdf") and record.levelno > logging.DEBUG
    ]


def test_page_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypdf

    path = write(tmp_path / "a.pdf", pdf_bytes(PAGES))
    real = pypdf.PageObject.extract_text

    def failing(page: pypdf.PageObject, *arguments: object, **options: object) -> str:
        if page.page_number == 1:
            raise KeyError("/Oddity")
        return real(page, *arguments, **options)

    monkeypatch.setattr(pypdf.PageObject, "extract_text", failing)
    (document,), report = read_all(path)
    assert document.text == f"{PAGES[0]}\n\n{PAGES[2]}"
    assert document.metadata["pages"] == 3
    assert report.left_out["a.pdf"]["unreadable pages"].examples == ["page 2: KeyError: '/Oddity'"]
    with pytest.raises(FormatError, match="page 2: KeyError"):
        read_all(path, on_error="raise")


def test_level_of_the_parsers_logger_is_restored(tmp_path: Path) -> None:
    logger = logging.getLogger("pypdf")
    before = logger.level
    read_all(write(tmp_path / "a.pdf", pdf_bytes(PAGES)))
    assert logger.level == before
