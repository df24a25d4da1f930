"""Fetching: what is kept, what is checked, and what is left behind when something goes wrong."""

import json
import os
import stat
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import networkx
import pytest
from catalogue_support import Tools, joint_digest, make_deb, make_tar, make_wheel, sha256

from polyvec.core.errors import ChecksumError, DataUnavailableError, FormatError, InvalidValueError, NotFoundError
from polyvec.data import catalogue
from polyvec.data.catalogue.sources import wheel as wheel_source
from polyvec.data.catalogue.verify import UnknownVersionWarning

FILES = {"toy/data/a.csv": b"x,y\n1,2\n", "toy/data/deep/b.csv": b"x\n3\n"}
STRIPPED = {name.removeprefix("toy/data/"): content for name, content in FILES.items()}
OTHERS = {"toy/__init__.py": b"raise SystemExit('imported')\n", "toy-1.0.dist-info/METADATA": b"Name: toy\n"}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    made = Tools(tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("POLYVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POLYVEC_OFFLINE", raising=False)
    monkeypatch.delenv("POLYVEC_CATALOGUE", raising=False)
    monkeypatch.setattr(wheel_source, "_pip", lambda purpose: [str(made.bin / "pip")])
    return made


@pytest.fixture
def write_catalogue(tmp_path, monkeypatch):
    def write(name="toy", *, version="1.0", source="wheel", package="toy", pins=None, **fields):
        lines = {
            "kind": "tables", "title": "a toy", "source": source, "package": package, "version": version,
            "files": ["toy/data/*.csv"], "strip": "toy/data/",
        } | fields  # fmt: skip
        text = f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items() if value != "")
        for known, pin in (pins or {}).items():
            text += f"[{name}.versions.{json.dumps(known)}]\n"
            for key, value in pin.items():
                table = isinstance(value, dict)
                text += "".join(f"{key}.{json.dumps(k)} = {json.dumps(v)}\n" for k, v in value.items()) if table else ""
                text += "" if table else f"{key} = {json.dumps(value)}\n"
        path = tmp_path / "own.toml"
        path.write_text(text)
        monkeypatch.setenv("POLYVEC_CATALOGUE", str(path))
        return path

    return write


@pytest.fixture
def toy(tmp_path, tools, write_catalogue):
    """A wheel, a pip that hands it over, and an entry that knows its checksums."""
    archive = make_wheel(tmp_path / "shop" / "toy-1.0-py3-none-any.whl", FILES | OTHERS)
    tools.add("pip", files=[str(archive)])
    pins = {"1.0": {"content": joint_digest(STRIPPED), "archives": {archive.name: sha256(archive.read_bytes())}}}
    write_catalogue(pins=pins)
    return archive


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_in_cache(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "data"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def pip_calls(tools: Tools) -> int:
    return sum(call[0] == "pip" for call in tools.calls)


# -- the usual way -------------------------------------------------------------------------------------------


def test_a_wheel_gives_only_the_wanted_files_and_is_fetched_once(toy, tools, tmp_path):
    assert not catalogue.is_cached("toy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = catalogue.get("toy")
        assert catalogue.get("toy") == folder == catalogue.path("toy")
    kept = contents(folder)
    record = json.loads(kept.pop("source.json"))
    assert kept == STRIPPED
    assert record["archive_sha256"] == sha256(toy.read_bytes())
    assert {name: file["sha256"] for name, file in record["files"].items()} == {
        name: sha256(content) for name, content in STRIPPED.items()
    }
    assert left_in_cache(tmp_path) == ["toy"]
    (call,) = tools.calls
    assert call[1:2] == ["download"]
    assert {"--no-deps", "--only-binary=:all:", "--no-cache-dir", "toy==1.0"} <= set(call)
    assert catalogue.version_used("toy") == {
        "name": "toy", "version": "1.0", "known": True, "content_sha256": joint_digest(STRIPPED)
    }  # fmt: skip
    assert catalogue.is_cached("toy")


def test_load_reads_the_tables_and_refuses_what_the_loader_does_not_know(toy):
    tables = catalogue.load("toy")
    assert {name: table.to_pydict() for name, table in tables.items()} == {"a": {"x": [1], "y": [2]}, "b": {"x": [3]}}
    assert list(catalogue.load("toy", names=["b"])) == ["b"]
    with pytest.raises(InvalidValueError, match=r"flavour: not an option of the data set 'toy'.*names"):
        catalogue.load("toy", flavour="sweet")
    with pytest.raises(NotFoundError, match="no table 'c'; there are a, b"):
        catalogue.load("toy", names=["c"])
    with pytest.raises(InvalidValueError, match=r"needs a list of names, for example \['a'\]"):
        catalogue.load("toy", names="a")


def test_remove_deletes_the_copy_and_refresh_fetches_anew(toy, tools):
    folder = catalogue.get("toy")
    catalogue.get("toy", refresh=True)
    assert pip_calls(tools) == 2
    assert catalogue.remove("toy") is True
    assert catalogue.remove("toy") is False
    assert not folder.exists()
    with pytest.raises(DataUnavailableError, match="polyvec data get toy"):
        catalogue.path("toy")
    with pytest.raises(DataUnavailableError, match="not in the cache"):
        catalogue.version_used("toy")


def test_a_damaged_copy_or_another_wish_is_fetched_again(toy, tools, write_catalogue):
    folder = catalogue.get("toy")
    (folder / "a.csv").write_bytes(b"x,")
    assert not catalogue.is_cached("toy")
    assert contents(catalogue.get("toy"))["a.csv"] == FILES["toy/data/a.csv"]
    (folder / "source.json").write_text("{")
    assert contents(catalogue.get("toy"))["a.csv"] == FILES["toy/data/a.csv"]
    assert pip_calls(tools) == 3
    write_catalogue(files=["toy/data/a.csv"])
    assert sorted(contents(catalogue.get("toy"))) == ["a.csv", "source.json"]


# -- checksums and versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["archives", "content", "files"])
def test_a_wrong_checksum_of_a_known_version_leaves_nothing(pin, toy, tmp_path, write_catalogue):
    wrong = {"archives": {toy.name: "0" * 64}, "content": "0" * 64, "files": {"a.csv": "0" * 64}}
    write_catalogue(pins={"1.0": {pin: wrong[pin]}})
    with pytest.raises(ChecksumError, match="0000"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


def test_a_failed_refresh_keeps_the_older_copy(toy, tools, tmp_path, write_catalogue):
    folder = catalogue.get("toy")
    before = contents(folder)
    make_wheel(toy, FILES | {"toy/data/a.csv": b"changed"})
    with pytest.raises(ChecksumError, match=toy.name):
        catalogue.get("toy", refresh=True)
    assert contents(folder) == before
    assert left_in_cache(tmp_path) == ["toy"]


def test_an_unknown_version_is_a_warning_that_names_both(toy, write_catalogue):
    write_catalogue(version="", pins={"0.9": {"content": "0" * 64}})
    with pytest.warns(UnknownVersionWarning, match=r"'1\.0', the catalogue knows 0\.9"):
        catalogue.get("toy")
    assert catalogue.version_used("toy")["known"] is False
    with pytest.warns(UnknownVersionWarning, match=r"1\.0"):  # also when it comes from the cache
        catalogue.load("toy")


def test_an_unknown_version_with_known_content_is_no_warning(toy, write_catalogue):
    write_catalogue(version="", pins={"0.9": {"content": joint_digest(STRIPPED)}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        catalogue.get("toy")
    assert catalogue.version_used("toy")["known"] is True


# -- things that go wrong ------------------------------------------------------------------------------------


def test_the_clients_own_error_is_told_in_one_line(toy, tools, tmp_path):
    tools.add("pip", error="ERROR: No matching distribution found for toy==1.0")
    with pytest.raises(DataUnavailableError) as caught:
        catalogue.get("toy")
    assert "No matching distribution found for toy==1.0" in str(caught.value)
    assert "some text" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left_in_cache(tmp_path) == []


def test_a_missing_client_says_what_to_install(tools, write_catalogue, monkeypatch, tmp_path):
    write_catalogue(source="npm", files=["package/*"])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DataUnavailableError, match=r"'npm' is not installed; needs npm"):
        catalogue.get("toy")
    write_catalogue(source="debian", files=["usr/*"])
    with pytest.raises(DataUnavailableError, match=r"'apt-get' is not installed; .*Debian"):
        catalogue.get("toy")


def test_an_environment_without_pip_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataUnavailableError, match="ensurepip"):
        wheel_source._pip("fetch toy")
    program = tmp_path / "pip3"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert wheel_source._pip("fetch toy") == [str(program)]


def test_a_pattern_that_fits_nothing_is_told(toy, tmp_path, write_catalogue):
    write_catalogue(files=["toy/data/*.csv", "toy/data/*.parquet"])
    with pytest.raises(DataUnavailableError, match=r"no file 'toy/data/\*\.parquet'"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_damaged_archive_is_refused(cut, toy, tmp_path, write_catalogue):
    write_catalogue()
    toy.write_bytes(toy.read_bytes()[:cut])
    with pytest.raises(FormatError, match="damaged"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupt_or_a_full_disk_leaves_nothing(error, toy, tmp_path, monkeypatch):
    def stop(archive, folder, patterns, strip=""):
        (folder / "half.csv").write_bytes(b"x")
        raise error

    monkeypatch.setattr(wheel_source, "extract", stop)
    with pytest.raises((KeyboardInterrupt, OSError)):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


def test_what_a_killed_process_left_is_swept_away(toy, tmp_path):
    folder = tmp_path / "cache" / "data"
    for name in (".toy.abcdefgh.partial", ".toy.abcdefgh.old", ".other.abcdefgh.partial"):
        (folder / name).mkdir(parents=True)
        (folder / name / "half.csv").write_bytes(b"x")
    catalogue.get("toy")
    assert left_in_cache(tmp_path) == [".other.abcdefgh.partial", "toy"]


@pytest.mark.parametrize(
    "name", ["../evil.csv", "toy/data/../../../evil.csv", "/evil.csv", "toy\\data\\..\\evil.csv", "C:/e.csv"]
)
def test_a_wheel_that_would_write_elsewhere_is_refused(name, toy, tmp_path, write_catalogue):
    write_catalogue(files=["*.csv"])
    make_wheel(toy, FILES | {name: b"evil"})
    with pytest.raises(FormatError, match="outside of its folder"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"]


def test_a_link_inside_a_wheel_is_refused(toy, tmp_path, write_catalogue):
    write_catalogue()
    make_wheel(toy, FILES | {"toy/data/l.csv": b"/etc/passwd"}, modes={"toy/data/l.csv": stat.S_IFLNK | 0o777})
    with pytest.raises(FormatError, match="not a plain file"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "links", "message"),
    [
        ({"package/../../evil": b"x"}, {}, "outside"),
        ({"/evil": b"x"}, {}, "outside"),
        ({}, {"package/data/l.csv": "/etc/passwd"}, "not a plain file"),
        ({}, {"package/data/l.csv": "../../../x"}, "not a plain file"),
    ],
)
def test_a_tarball_that_would_write_elsewhere_is_refused(files, links, message, tools, tmp_path, write_catalogue):
    archive = tmp_path / "shop" / "toy-1.0.tgz"
    make_tar(archive, {"package/data/a.csv": b"x\n1\n", **files}, links=links)
    tools.add("npm", files=[str(archive)], report=[{"version": "1.0"}])
    write_catalogue(source="npm", files=["package/data/*"], strip="package/data/")
    with pytest.raises(FormatError, match=message):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


# -- offline -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_never_starts_a_client_and_the_cache_works_on(how, toy, tools, monkeypatch):
    offline = True if how == "argument" else None
    if how == "environment":
        monkeypatch.setenv("POLYVEC_OFFLINE", "1")
    with pytest.raises(DataUnavailableError, match="polyvec data get toy"):
        catalogue.get("toy", offline=offline)
    with pytest.raises(DataUnavailableError, match="switched off"):
        catalogue.load("toy", offline=offline)
    assert tools.calls == []
    catalogue.get("toy", offline=False)
    assert len(tools.calls) == 1
    assert sorted(catalogue.load("toy", offline=offline)) == ["a", "b"]
    with pytest.raises(DataUnavailableError, match="switched off"):
        catalogue.get("toy", offline=offline, refresh=True)
    assert catalogue.is_cached("toy")
    assert len(tools.calls) == 1


@pytest.mark.parametrize("value", ["0", "", "false", "no"])
def test_offline_set_to_nothing_means_online(value, toy, tools, monkeypatch):
    monkeypatch.setenv("POLYVEC_OFFLINE", value)
    catalogue.get("toy")
    assert len(tools.calls) == 1


# -- at once -------------------------------------------------------------------------------------------------


def test_threads_and_processes_at_once_fetch_one_time(toy, tools, tmp_path):
    tools.add("pip", files=[str(toy)], sleep=0.5)
    script = (
        "from polyvec.data import catalogue\n"
        "from polyvec.data.catalogue.sources import wheel\n"
        f"wheel._pip = lambda purpose: [{str(tools.bin / 'pip')!r}]\n"
        "print(*sorted(catalogue.load('toy')))\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    start = threading.Barrier(4)

    def fetch(_):
        start.wait()
        return sorted(catalogue.load("toy"))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(fetch, range(4)))
    results += [process.communicate(timeout=60)[0].split() for process in others]
    assert results == [["a", "b"]] * 6
    assert pip_calls(tools) == 1
    assert left_in_cache(tmp_path) == ["toy"]


# -- installed distributions ---------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The distribution `toy`, put on the path as an installer would."""
    site = tmp_path / "site"

    def install(version="1.0", files=FILES):
        for name, content in (files | OTHERS).items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_bytes(content)
        information = site / "toy-1.0.dist-info"
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy\nVersion: {version}\n")
        (information / "RECORD").write_text("".join(f"{name},,\n" for name in [*files, *OTHERS]))
        monkeypatch.syspath_prepend(str(site))
        return site

    return install


def test_an_installed_distribution_is_read_without_a_client_or_an_import(toy, tools, installed):
    installed()
    folder = catalogue.get("toy", offline=True)
    assert tools.calls == []
    assert {name: content for name, content in contents(folder).items() if name != "source.json"} == STRIPPED
    assert "toy" not in sys.modules
    assert json.loads((folder / "source.json").read_text())["origin"] == "installed distribution"


def test_an_installed_distribution_that_was_changed_is_passed_over(toy, tools, installed):
    installed(files=FILES | {"toy/data/a.csv": b"edited"})
    assert contents(catalogue.get("toy"))["a.csv"] == FILES["toy/data/a.csv"]
    assert pip_calls(tools) == 1


def test_an_installed_distribution_of_another_version_serves_only_offline(toy, tools, installed):
    installed(version="2.0", files=FILES | {"toy/data/a.csv": b"x\n2\n"})
    with pytest.warns(UnknownVersionWarning, match=r"'2\.0', the catalogue knows 1\.0"):
        catalogue.get("toy", offline=True)
    assert tools.calls == []
    catalogue.get("toy", refresh=True)
    assert pip_calls(tools) == 1
    assert catalogue.version_used("toy")["version"] == "1.0"


# -- npm and Debian ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyed", [False, True])
def test_npm_packs_without_scripts_and_reports_its_version(keyed, tools, tmp_path, write_catalogue):
    archive = tmp_path / "shop" / "toy-3.2.1.tgz"
    make_tar(archive, {"package/data/a.csv": b"x\n1\n", "package/index.js": b"process.exit(1)"})
    report = {"version": "3.2.1"}
    tools.add("npm", files=[str(archive)], report={"toy": report} if keyed else [report])
    write_catalogue(source="npm", files=["package/data/*"], strip="package/data/", version="3.2.1")
    folder = catalogue.get("toy")
    assert sorted(contents(folder)) == ["a.csv", "source.json"]
    assert catalogue.version_used("toy")["version"] == "3.2.1"
    (call,) = tools.calls
    assert call[:3] == ["npm", "pack", "toy@3.2.1"]
    assert "--ignore-scripts" in call
    assert left_in_cache(tmp_path) == ["toy"]


@pytest.mark.parametrize("mode", ["xz", "gz", ""])
def test_a_debian_package_is_unpacked_not_installed(mode, tools, tmp_path, write_catalogue):
    archive = make_deb(
        tmp_path / "shop" / "toy_1%3a2.0-1_all.deb",
        {"usr/share/toy/a.csv": b"x\n1\n", "usr/share/doc/toy/copyright": b"free"},
        links={"./usr/share/doc/toy/link": "/etc/passwd"},  # not wanted, so no harm
        mode=mode,
    )
    tools.add("apt-get", files=[str(archive)], lists={"debian_InRelease": "Origin: Debian\n"})
    pin = {"content": joint_digest({"a.csv": b"x\n1\n"}), "archives": {archive.name: sha256(archive.read_bytes())}}
    write_catalogue(
        source="debian", files=["usr/share/toy/*"], strip="usr/share/toy/", version="", pins={"1:2.0-1": pin}
    )
    assert catalogue.load("toy")["a"].to_pydict() == {"x": [1]}
    assert catalogue.version_used("toy") == {
        "name": "toy", "version": "1:2.0-1", "known": True, "content_sha256": pin["content"]
    }  # fmt: skip
    assert [call[-1] if call[-1] == "update" else call[-2] for call in tools.calls] == ["update", "download"]
    configuration = (tmp_path / "cache" / "apt" / "apt.conf").read_text()
    assert str(tmp_path / "cache" / "apt" / "lists") in configuration  # not the system's
    catalogue.get("toy", refresh=True)
    assert sum(call[-1] == "update" for call in tools.calls) == 2


def test_lists_that_name_a_package_no_longer_there_are_updated_once(tools, tmp_path, write_catalogue):
    archive = make_deb(tmp_path / "shop" / "toy_2.0_all.deb", {"usr/share/toy/a.csv": b"x\n1\n"})
    tools.add("apt-get", files=[str(archive)], lists={"debian_InRelease": ""}, fail_first=1)
    write_catalogue(source="debian", files=["usr/share/toy/*"], strip="usr/share/toy/", version="")
    catalogue.get("toy")
    verbs = ["update" if "update" in call else "download" for call in tools.calls]
    assert verbs == ["update", "download", "update", "download"]


@pytest.mark.parametrize(
    "content",
    [b"not a package", b"!<arch>\n" + b"x" * 70, b"!<arch>\n", None],
    ids=["text", "header", "empty", "short"],
)
def test_a_damaged_debian_package_is_refused(content, tools, tmp_path, write_catalogue):
    archive = make_deb(tmp_path / "shop" / "toy_2.0_all.deb", {"usr/share/toy/a.csv": b"x\n1\n"})
    archive.write_bytes(archive.read_bytes()[:-40] if content is None else content)
    tools.add("apt-get", files=[str(archive)], lists={"debian_InRelease": ""})
    write_catalogue(source="debian", files=["usr/share/toy/*"], version="")
    with pytest.raises(FormatError, match=archive.name):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


def target(by, codename, *, component="main", origin="Debian", label="Debian", version="12.15", file="x"):
    return (
        f"Created-By: {by}\nCodename: {codename}\nComponent: {component}\nOrigin: {origin}\nLabel: {label}\n"
        f"Version: {version}\nArchitecture: amd64\nBase-URI: http://mirror/dists/{codename}/\n"
        f"Filename: STATE/lists/{file}\n"
    )


def test_the_package_index_is_that_of_the_release_proper(tools, tmp_path, write_catalogue):
    both = ("Packages", "Translations")
    targets = [
        *(target(by, "other", origin="Vendor", label="Vendor", file="vendor") for by in both),
        *(target(by, "bookworm-updates", file="updates") for by in both),
        *(target(by, "bookworm", component="contrib", file="contrib") for by in both),
        *(target(by, "bookworm-security", label="Debian-Security", file="security") for by in both),
        *(target(by, "bookworm", file=f"main-{by}") for by in both),
    ]
    names = ("vendor", "updates", "contrib", "security", "main-Packages", "main-Translations")
    lists = {"debian_InRelease": "", **{name: f"content of {name}" for name in names}}
    tools.add("apt-get", lists=lists, targets="\n".join(targets))
    write_catalogue(source="debian-index", package="", version="", files=[], strip="", kind="texts")
    folder = catalogue.get("toy")
    kept = contents(folder)
    assert kept.pop("source.json")
    assert kept == {"Packages": b"content of main-Packages", "Translation-en": b"content of main-Translations"}
    assert catalogue.version_used("toy")["version"] == "bookworm 12.15 amd64"
    catalogue.get("toy", refresh=True)
    tools.add("apt-get", lists=lists, targets=target("Packages", "bookworm", file="main-Packages"))
    with pytest.raises(DataUnavailableError, match="/etc/apt"):  # no English descriptions
        catalogue.get("toy", refresh=True)
    assert contents(folder)["Packages"] == b"content of main-Packages"


# -- made here -----------------------------------------------------------------------------------------------


def test_spoken_words_come_from_the_synthesiser(tools, write_catalogue):
    tools.add("espeak-ng")
    write_catalogue(
        source="generated", kind="audio", package="", version="", files=[], strip="",
        generator="polyvec.data.catalogue.generators.speech.spoken_words",
        loader="polyvec.data.catalogue.loaders.files.load_spoken_words",
        pins={"espeak-ng 1.0": {"content": "0" * 64}},
    )  # fmt: skip
    path = Path(os.environ["POLYVEC_CATALOGUE"])
    path.write_text(path.read_text().replace("kind =", "options.words = 2\nkind =", 1))
    with pytest.warns(UnknownVersionWarning, match=r"'espeak-ng 9\.87', the catalogue knows espeak-ng 1\.0"):
        spoken = catalogue.load("toy", offline=True)  # needs a program, but no network
    assert spoken.details["words"] == ["one", "zero"]
    assert len(spoken.files) == 2 * 8 * 2
    assert spoken.details["word_labels"].tolist() == [1] * 16 + [0] * 16
    assert [spoken.details["voices"][label] for label in spoken.details["voice_labels"]] == [
        name.split("/")[1] for name in spoken.files
    ]
    assert spoken["zero/en-gb+f2/170"].read_text().split()[1:5] == ["-v", "en-gb+f2", "-s", "170"]


def test_a_missing_synthesiser_says_what_to_install(tools, write_catalogue, monkeypatch, tmp_path):
    write_catalogue(
        source="generated", package="", version="", files=[], strip="",
        generator="polyvec.data.catalogue.generators.speech.spoken_words",
    )  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataUnavailableError, match="apt-get install espeak-ng"):
        catalogue.get("toy")
    assert left_in_cache(tmp_path) == []


def test_generated_files_that_differ_are_a_version_of_their_own(tools, write_catalogue):
    write_catalogue(
        source="bundled", kind="graph", package="networkx", version="", files=[], strip="",
        generator="polyvec.data.catalogue.generators.networks.karate_club",
        loader="polyvec.data.catalogue.loaders.graphs.load_edge_list",
        pins={f"networkx {networkx.__version__}": {"content": "0" * 64}},
    )  # fmt: skip
    with pytest.warns(UnknownVersionWarning, match=r"\(content [0-9a-f]{12}\)"):
        graph = catalogue.load("toy")
    assert graph.num_nodes == 34
