"""What the documents say is what the code does."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from polyvec.app.server.systems import example_lines
from polyvec.core.registry import systems

ROOT = Path(__file__).parents[1]


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_table_of_systems_in_the_readme_is_up_to_date():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module(ROOT / "docs/readme.py").updated(readme) == readme, "run: python docs/readme.py"


def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"<!-- test command -->\n```bash\n(.+)\n```", readme).group(1)
    assert ".venv/bin/pytest" in command
    assert "<!-- test command -->" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_extras_named_in_messages_and_documents_exist():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    texts = [path.read_text(encoding="utf-8") for path in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]]
    texts += [path.read_text(encoding="utf-8") for path in ROOT.glob("src/**/*.py")]
    named = {
        extra for text in texts for found in re.findall(r"polyvec\[([\w,]+)\]", text) for extra in found.split(",")
    }
    named |= {found for text in texts for found in re.findall(r'require\(\s*"[\w.]+",\s*"(\w+)"', text)}
    assert named
    assert named <= extras


def test_versions_agree():
    import polyvec

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == polyvec.__version__


@pytest.mark.parametrize(
    "entry", [entry for entry in systems() if entry.status == "working"], ids=lambda entry: entry.slug
)
def test_the_lines_that_the_page_shows_for_a_system_run(entry):
    lines = example_lines(entry)
    assert lines
    exec(compile("\n".join(lines), entry.slug, "exec"), {})


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_have_a_docstring_and_compile(path):
    source = path.read_text(encoding="utf-8")
    compile(source, str(path), "exec")
    assert source.startswith('"""')
