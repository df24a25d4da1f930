"""Small real archives and stand-ins for pip, npm, apt-get and espeak-ng, for the tests of the catalogue.

The stand-ins are programs on the PATH: what is tested includes how clients are started and how their errors are told.
"""

import hashlib
import io
import json
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

_TOOL = """#!{python} -SE
import json, os, shutil, sys, time
base = {base!r}
with open(os.path.join(base, "calls.jsonl"), "a") as log:
    log.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
with open(os.path.join(base, {name!r} + ".json")) as handle:
    plan = json.load(handle)
time.sleep(plan.get("sleep", 0))
{body}
"""
_GIVE = """
failures = plan.get("fail_first", 0)
done = os.path.join(base, {name!r} + ".failed")
count = len(open(done).read()) if os.path.exists(done) else 0
if count < failures:
    open(done, "a").write("x")
    sys.exit("E: 404 Not Found")
if plan.get("error"):
    print("some text", file=sys.stderr)
    print(plan["error"], file=sys.stderr)
    print("", file=sys.stderr)
    sys.exit(3)
"""
_BODIES = {
    "pip": _GIVE.format(name="pip")
    + """
for file in plan["files"]:
    shutil.copy(file, sys.argv[sys.argv.index("--dest") + 1])
""",
    "npm": _GIVE.format(name="npm")
    + """
for file in plan["files"]:
    shutil.copy(file, ".")
print(json.dumps(plan["report"]))
""",
    "apt-get": """
state = os.path.dirname(sys.argv[sys.argv.index("-c") + 1])
if "update" in sys.argv:
    for name, content in plan.get("lists", {}).items():
        with open(os.path.join(state, "lists", name), "w") as handle:
            handle.write(content)
elif "indextargets" in sys.argv:
    print(plan["targets"].replace("STATE", state))
else:
"""
    + _GIVE.format(name="apt-get").replace("\n", "\n    ")
    + """
    for file in plan["files"]:
        shutil.copy(file, ".")
""",
    "espeak-ng": """
if "--version" in sys.argv:
    print("eSpeak NG text-to-speech: 9.87  Data at: somewhere")
else:
    with open(sys.argv[sys.argv.index("-w") + 1], "w") as handle:
        handle.write("RIFF " + " ".join(sys.argv[1:]))
""",
}


class Tools:
    """A folder of stand-in programs, what each is to hand over, and the calls they got."""

    def __init__(self, base: Path):
        self.base = base
        self.bin = base / "bin"
        self.bin.mkdir(parents=True)

    def add(self, name: str, **plan) -> None:
        (self.base / f"{name}.json").write_text(json.dumps(plan))
        program = self.bin / name
        program.write_text(_TOOL.format(python=sys.executable, base=str(self.base), name=name, body=_BODIES[name]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> list[list[str]]:
        log = self.base / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def joint_digest(files: dict[str, bytes]) -> str:
    """The digest of a set of files as the catalogue defines it, written down a second time."""
    return sha256("".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode())


def make_wheel(path: Path, files: dict[str, bytes], *, modes: dict[str, int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((modes or {}).get(name, stat.S_IFREG | 0o644)) << 16
            archive.writestr(info, content)
    return path


def make_tar(path: Path | None, files: dict[str, bytes], *, links: dict[str, str] | None = None, mode="gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def make_deb(path: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None, mode="xz") -> Path:
    data = make_tar(None, {f"./{name}": content for name, content in files.items()}, links=links, mode=mode)
    ending = f".{mode}" if mode else ""
    content = b"!<arch>\n"
    members = (("debian-binary", b"2.0\n"), ("control.tar.gz", make_tar(None, {})), (f"data.tar{ending}", data))
    for name, part in members:
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
