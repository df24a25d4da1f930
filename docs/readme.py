"""Writes the generated parts of README.md (the table of systems) from the registry and the committed results.

Run `python docs/readme.py` after a result changed; a test fails while README.md is out of date.
"""

from __future__ import annotations

import re
from pathlib import Path

from polyvec.core.registry import systems
from polyvec.reproduce.runner import committed_report

README = Path(__file__).parents[1] / "README.md"


def systems_table() -> str:
    """Working systems in full, planned ones folded away."""
    working = [entry for entry in systems() if entry.status == "working"]
    planned = [entry for entry in systems() if entry.status != "working"]
    lines = ["| Name | System | Place | Measured |", "|---|---|---|---|"]
    for entry in working:
        report = committed_report(entry.slug)
        verdict = report.verdict if report else ""
        lines.append(f"| `{entry.slug}` | {entry.title}: {entry.full_title} | {entry.place} | {verdict} |")
    lines += ["", f"<details><summary>{len(planned)} planned systems</summary>", ""]
    lines += ["| Name | System | Place |", "|---|---|---|"]
    lines += [f"| `{entry.slug}` | {entry.title}: {entry.full_title} | {entry.place} |" for entry in planned]
    lines += ["", "</details>"]
    return "\n".join(lines)


def updated(text: str) -> str:
    """The README with its generated parts written anew."""
    block = f"<!-- systems:start -->\n{systems_table()}\n<!-- systems:end -->"
    return re.sub(r"<!-- systems:start -->.*<!-- systems:end -->", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
