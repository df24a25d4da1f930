"""Which files are read: folders, patterns, ignore files, links, names that clash; and the errors about them."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path

import pytest
from readers_support import read_all, write

from polyvec.core.errors import FileProblemError, FormatError, InvalidTypeError, InvalidValueError
from polyvec.data.readers import SUPPORTED_SUFFIXES, ReadReport, SourceFile, read, scan


def sources(*arguments: object, **options: object) -> list[str]:
    return [file.source for file in scan(*arguments, **options)]  # type: ignore[arg-type]


def tree(base: Path, *names: str) -> Path:
    for name in names:
        write(base / name, f"The text of {name}")
    return base


def test_folder_is_read_recursively_in_a_stable_order(tmp_path: Path) -> None:
    names = ["b.txt", "a/z.md", "a/b/c.txt", "a.txt", "ä.txt", "a-b/c.txt", "A.txt"]
    tree(tmp_path, *reversed(names))
    documents, report = read_all(tmp_path)
    expected = ["A.txt", "a/b/c.txt", "a/z.md", "a-b/c.txt", "a.txt", "b.txt", "ä.txt"]
    assert [document.source for document in documents] == expected
    assert [document.id for document in documents] == expected
    assert [document.text for document in documents] == [f"The text of {name}" for name in expected]
    assert report.files == report.found == 7


def test_scan_tells_size_time_and_kind_without_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl.gz", b"not opened, so it need not be right")
    os.utime(path, (1_000_000, 1_000_000))
    monkeypatch.chdir(tmp_path)
    (file,) = scan(".")
    assert (file.source, file.size, file.modified) == ("a.jsonl.gz", 35, 1_000_000)
    assert (file.format, file.compressed, file.explicit) == ("jsonl", True, False)
    (named,) = scan("a.jsonl.gz")
    assert named.explicit


def test_what_scan_found_can_be_read(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b/c.txt")
    found = scan(tmp_path)
    assert [document.id for document in read(found)] == ["a.txt", "b/c.txt"]
    assert all(isinstance(file, SourceFile) for file in found)


def test_other_kinds_are_passed_over_and_counted(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.xyz", "c.xyz", "Makefile", "d.py")
    documents, report = read_all(tmp_path)
    assert len(documents) == 1
    assert report.unsupported == {".xyz": 2, "": 1, ".py": 1}
    assert any("4 files of other kinds" in line for line in report.lines())


def test_file_named_itself_is_read_as_text_whatever_its_suffix(tmp_path: Path) -> None:
    tree(tmp_path, "notes.xyz", ".hidden", "README")
    write(tmp_path / ".gitignore", "*")
    documents, _ = read_all([tmp_path / name for name in ("notes.xyz", ".hidden", "README")], exclude="*")
    assert [document.id for document in documents] == ["notes.xyz", ".hidden", "README"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (None, None, ["a.txt", "docs/b.md", "docs/deep/c.txt", "e.csv"]),
        ("*.txt", None, ["a.txt", "docs/deep/c.txt"]),
        (["*.md", "*.csv"], None, ["docs/b.md", "e.csv"]),
        ("docs/", None, ["docs/b.md", "docs/deep/c.txt"]),
        ("/*.txt", None, ["a.txt"]),
        ("*.py", None, ["docs/d.py"]),
        (["READ*", "*.csv"], None, ["docs/README", "e.csv"]),
        ("*", None, ["a.txt", "docs/b.md", "docs/deep/c.txt", "e.csv"]),
        (None, "docs/", ["a.txt", "e.csv"]),
        (None, "deep", ["a.txt", "docs/b.md", "e.csv"]),
        ("*.txt", ["a.*"], ["docs/deep/c.txt"]),
        (["*", "!*.md"], None, ["a.txt", "docs/deep/c.txt", "e.csv"]),
    ],
)
def test_include_and_exclude(tmp_path: Path, include, exclude, expected: list[str]) -> None:  # type: ignore[no-untyped-def]
    tree(tmp_path, "a.txt", "docs/b.md", "docs/deep/c.txt", "docs/d.py", "docs/README", "e.csv")
    assert sources(tmp_path, include=include, exclude=exclude) == expected


def test_ignore_files_count_where_they_lie_and_below(tmp_path: Path) -> None:
    tree(
        tmp_path, "a.txt", "keep.txt", "build/x.txt", "sub/a.txt", "sub/b.txt", "sub/deep/b.txt", "tmp.md", "sub/tmp.md"
    )
    write(tmp_path / ".gitignore", "a.txt\nbuild/\n# a comment\n\n*.md\n")
    write(tmp_path / ".polyvecignore", "!tmp.md\n")
    write(tmp_path / "sub" / ".gitignore", "!a.txt\n/b.txt\n")
    report = ReadReport()
    assert sources(tmp_path, report=report) == ["keep.txt", "sub/a.txt", "sub/deep/b.txt", "sub/tmp.md", "tmp.md"]
    assert report.ignored == 3  # a.txt, build/, sub/b.txt
    assert sources(tmp_path / "sub") == ["a.txt", "deep/b.txt", "tmp.md"]  # what lies above does not count


def test_ignored_folder_is_not_entered_so_nothing_in_it_comes_back(tmp_path: Path) -> None:
    tree(tmp_path, "out/a.txt", "b.txt")
    write(tmp_path / ".gitignore", "out/\n!out/a.txt\n")
    assert sources(tmp_path) == ["b.txt"]


def test_odd_ignore_files_do_no_harm(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.txt")
    write(tmp_path / ".gitignore", b"\xff\xfe\n!\n/\n[\n\\\n[z-a]\nb.txt\n" + bytes(range(1, 10)))
    assert sources(tmp_path) == ["a.txt"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".gitignore").mkdir()
    tree(tmp_path / "sub", "c.txt")
    assert sources(tmp_path / "sub") == ["c.txt"]


def test_hidden_files_only_when_asked_for_and_never_those_of_version_control(tmp_path: Path) -> None:
    tree(tmp_path, ".a.txt", ".folder/b.txt", "c.txt", ".git/d.txt", "sub/.svn/e.txt")
    report = ReadReport()
    assert sources(tmp_path, report=report) == ["c.txt"]
    assert report.hidden == 4
    assert sources(tmp_path, hidden=True) == [".a.txt", ".folder/b.txt", "c.txt"]
    assert sources(tmp_path / ".folder") == ["b.txt"]


def test_links_are_followed_only_when_asked_for_and_loops_end(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "far.txt")
    base = tree(tmp_path / "base", "a.txt", "sub/b.txt")
    (base / "link.txt").symlink_to(base / "a.txt")
    (base / "far").symlink_to(outside)
    (base / "sub" / "loop").symlink_to(base)
    (base / "broken.txt").symlink_to(tmp_path / "nowhere")
    report = ReadReport()
    assert sources(base, report=report) == ["a.txt", "sub/b.txt"]
    assert report.links == 4
    report = ReadReport()
    assert sources(base, follow_links=True, report=report) == ["a.txt", "far/far.txt", "sub/b.txt"]
    assert report.repeated == 2  # the linked file and the loop
    assert report.skipped_count == 1
    assert "broken.txt" in report.skipped[0].reason
    with pytest.raises(FileProblemError, match=r"broken\.txt"):
        scan(base, follow_links=True, on_error="raise")
    (tmp_path / "entrance").symlink_to(base)
    assert sources(tmp_path / "entrance") == ["a.txt", "sub/b.txt"]  # a named link is entered


def test_special_files_in_folders_are_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket may only be about a hundred characters long
        try:
            server.bind("socket.txt")
        finally:
            os.chdir(here)
        report = ReadReport()
        assert sources(tmp_path, report=report) == ["a.txt"]
        assert report.special == 2
    with pytest.raises(FileProblemError, match="no regular file"):
        scan(tmp_path / "pipe.txt")
    with pytest.raises(FileProblemError, match="no regular file"):
        scan("/dev/null")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["a.txt"]),
        ("docs/*", ["b.md", "deep/c.txt", "f[1].txt"]),
        ("docs/*.md", ["b.md"]),
        ("**/*.txt", ["a.txt", "docs/deep/c.txt", "docs/f[1].txt"]),
        ("docs/**/c.*", ["deep/c.txt"]),
        ("d?cs/deep/*.txt", ["docs/deep/c.txt"]),
        ("docs/*.py", ["d.py"]),
        ("docs/f[1].txt", ["f[1].txt"]),
        ("docs/[a-c].md", ["b.md"]),
    ],
)
def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str]) -> None:
    tree(tmp_path, "a.txt", "docs/b.md", "docs/deep/c.txt", "docs/d.py", "docs/f[1].txt", "other/.h.txt")
    assert sources(str(tmp_path / pattern)) == expected
    monkeypatch.chdir(tmp_path)
    assert sources(pattern) == expected


def test_pattern_enters_only_folders_that_can_match(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "docs/b.txt", "other/deep/c.txt")
    entered: list[str] = []
    real = os.scandir

    def spying(path: str) -> object:
        entered.append(os.path.relpath(path, tmp_path))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", spying)
        assert sources(str(tmp_path / "docs*" / "*.txt")) == ["docs/b.txt"]
    assert entered == [".", "docs"]


def test_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "notes/a.txt")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources("~/notes") == ["a.txt"]
    assert sources("~/notes/*.txt") == ["a.txt"]
    with pytest.raises(FileProblemError, match="no such file"):
        scan("~nobody-of-this-name/notes")


def test_clashing_names_get_the_names_of_their_folders(tmp_path: Path) -> None:
    first = tree(tmp_path / "one" / "notes", "a.txt", "b.txt")
    second = tree(tmp_path / "two" / "notes", "a.txt")
    third = tree(tmp_path / "three", "c.txt")
    assert sources([first, second, third]) == ["one/notes/a.txt", "one/notes/b.txt", "two/notes/a.txt", "c.txt"]
    assert sources([first / "a.txt", second / "a.txt"]) == ["one/notes/a.txt", "two/notes/a.txt"]
    assert sources([tmp_path / "one", tmp_path / "two"]) == ["one/notes/a.txt", "one/notes/b.txt", "two/notes/a.txt"]
    assert [document.id for document in read([second, first])] == [
        "two/notes/a.txt",
        "one/notes/a.txt",
        "one/notes/b.txt",
    ]


def test_file_reached_twice_is_read_once(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.txt")
    report = ReadReport()
    assert sources([tmp_path / "b.txt", tmp_path, tmp_path / "a.txt"], report=report) == ["b.txt", "a.txt"]
    assert report.repeated == 2


def test_names_that_are_not_text_or_look_like_parts_keep_ids_apart(tmp_path: Path) -> None:
    names = [b"\xff.txt", b"\\xff.txt", b"a#1.txt", b"a%231.txt", b"a%25231.txt", b"line\nbreak.txt"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"text of " + name.replace(b"\xff", b"ff"))
    documents, _ = read_all(tmp_path)
    assert len({document.id for document in documents}) == len(names)
    assert len({document.source for document in documents}) == len(names)
    for document in documents:
        document.id.encode("utf-8")
        assert "\n" not in document.id
        assert "#" not in document.id
    assert "a#1.txt" in {document.source for document in documents}


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("A thought – piped".encode("utf-16"))))
    documents, _ = read_all(["-", tmp_path / "a.txt"])
    assert [(document.id, document.text) for document in documents] == [
        ("stdin", "A thought – piped"),
        ("a.txt", "The text of a.txt"),
    ]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileProblemError, match="standard input"):
        read_all("-")


@pytest.mark.parametrize("policy", ["warn", "raise"])
def test_named_source_that_is_missing_is_raised_at_the_call(tmp_path: Path, policy: str) -> None:
    tree(tmp_path, "a.txt")
    for name in ("missing.txt", "missing/*.txt", "*.nothing", "a.txt/b.txt", "x" * 300 + ".txt"):
        with pytest.raises(FileProblemError) as caught:
            read([tmp_path / "a.txt", tmp_path / name], on_error=policy)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert name[:5] in str(caught.value)
    with pytest.raises(FileProblemError, match="download it first"):
        read("https://example.org/a.txt")


def deny(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make opening `path` fail as it does without permission, also for the superuser."""
    import builtins

    real = builtins.open

    def opening(file, *arguments, **options):  # type: ignore[no-untyped-def]
        if not isinstance(file, int) and Path(file) == path:
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", opening)


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet", ".pdf", ".csv", ".html", ".md", ".json", ".arrow"])
def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    tree(tmp_path, "b.txt", f"secret{suffix}")
    deny(monkeypatch, tmp_path / f"secret{suffix}")
    with pytest.raises(FileProblemError, match="no permission"):  # named: raised whatever the policy
        read_all(tmp_path / f"secret{suffix}")
    documents, report = read_all(tmp_path)  # found: skipped
    assert [document.id for document in documents] == ["b.txt"]
    assert [(item.source, "no permission" in item.reason) for item in report.skipped] == [(f"secret{suffix}", True)]
    with pytest.raises(FileProblemError, match="no permission"):
        read_all(tmp_path, on_error="raise")


def test_unreadable_named_file_is_raised_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "a.txt", "b.txt")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "b.txt")
    with pytest.raises(FileProblemError, match=r"b\.txt: no permission"):
        read([tmp_path / "a.txt", tmp_path / "b.txt"])


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.txt", "locked/b.txt")
    real = os.scandir

    def listing(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", listing)
    documents, report = read_all(tmp_path)
    assert [document.id for document in documents] == ["a.txt"]
    assert report.skipped_count == 1
    assert "locked" in report.skipped[0].reason
    with pytest.raises(FileProblemError, match="locked"):
        read(tmp_path, on_error="raise")
    with pytest.raises(FileProblemError, match="locked"):
        read(tmp_path / "locked")


def test_file_that_vanishes_after_the_scan_is_skipped(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", "b.txt")
    report = ReadReport()
    documents = read(tmp_path, report=report)
    (tmp_path / "a.txt").unlink()
    assert [document.id for document in documents] == ["b.txt"]
    assert "a.txt" in report.skipped[0].reason


def test_nothing_to_read_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"no documents.*\.txt.*\.pdf"):
        read(tmp_path / "empty")
    tree(tmp_path / "images", "a.jpg", "b.jpg")
    with pytest.raises(FormatError, match=r"2 files of other kinds \(2 \.jpg\)"):
        read(tmp_path / "images")
    write(tmp_path / "blank" / "a.txt", " \n")
    write(tmp_path / "blank" / "b.csv", "")
    report = ReadReport()
    with pytest.raises(FormatError, match=r"white space.*empty"):
        read_all(tmp_path / "blank", report=report)
    assert report.skipped_count == 2


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3,), {}, InvalidTypeError, "sources must be a path"),
        ((b"a.txt",), {}, InvalidTypeError, "sources must be a path"),
        (([3],), {}, InvalidTypeError, "a source must be a path"),
        (([],), {}, InvalidValueError, "sources is empty"),
        (("",), {}, InvalidValueError, "a source must be a path"),
        (("a\0b",), {}, InvalidValueError, "a source must be a path"),
        ((".",), {"on_error": "ignore"}, InvalidValueError, "on_error"),
        ((".",), {"include": [3]}, InvalidTypeError, "include"),
        ((".",), {"exclude": 3}, InvalidTypeError, "exclude"),
        ((".",), {"encoding": "no-such-thing"}, InvalidValueError, "encoding 'no-such-thing' is not known"),
        ((".",), {"encoding": "rot13"}, InvalidValueError, "encoding 'rot13' is not known"),
        ((".",), {"encoding": 8}, InvalidTypeError, "encoding"),
        ((".",), {"text_field": 8}, InvalidTypeError, "text_field"),
        ((".",), {"text_field": "a", "title_field": "a"}, InvalidValueError, "title_field"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(arguments, options, error, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        read(*arguments, **options)


def test_report_counts_bytes_as_reading_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"text": "some words to read"}\n' * 50_000)
    write(tmp_path / "b.txt", "The last one")
    report = ReadReport()
    seen = [report.bytes for _ in read(tmp_path, report=report)]
    total = sum(file.size for file in scan(tmp_path))
    assert seen == sorted(seen)
    assert seen[30_000] > 0.2 * total
    assert report.bytes == total
    assert report.documents == 50_001


def test_report_as_values_is_json(tmp_path: Path) -> None:
    import json

    tree(tmp_path, "a.txt", ".b.txt", "c.xyz")
    write(tmp_path / "d.txt", "")
    write(tmp_path / "e.csv", "id,text\n1,one\n1,two\n2,\n")
    _, report = read_all(tmp_path)
    values = json.loads(json.dumps(report.to_dict()))
    assert values["documents"] == 3
    assert values["skipped"][0]["source"] == "d.txt"
    assert values["left_out"]["e.csv"]["rows without text"]["count"] == 1
    assert values["passed_over"]["unsupported"] == {".xyz": 1}
    assert values["passed_over"]["hidden"] == 1
    assert all("\n" not in line for line in report.lines())


def test_report_stays_small_however_much_is_skipped(tmp_path: Path) -> None:
    for number in range(1100):
        (tmp_path / f"{number}.txt").touch()
    tree(tmp_path, "full.txt")
    _, report = read_all(tmp_path)
    assert report.skipped_count == 1100
    assert len(report.skipped) == 1000
    assert len(report.lines()) < 30
    assert report.lines()[-1] == "… and 1,080 more"


def test_suffixes_are_those_of_the_readers() -> None:
    tables = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".ipc"}
    texts = {".txt", ".md", ".markdown", ".html", ".htm", ".pdf"}
    assert tables | texts | {".txt.gz", ".jsonl.gz"} <= set(SUPPORTED_SUFFIXES)
    assert ".pdf.gz" not in SUPPORTED_SUFFIXES
