"""The report in words, for terminals, pipes and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvec.assess.health.finding import Example, Finding

if TYPE_CHECKING:
    from polyvec.assess.health.report import HealthReport


def example_text(example: Example) -> str:
    """An example in one line, without characters that would steer a terminal."""
    names = ", ".join(str(name) for name in example.ids)
    text = f"{names} ({example.note})"
    shown = list(dict.fromkeys(text for text in example.texts if text))
    line = f"{text}: {' | '.join(shown)}" if shown else text
    return "".join(letter if letter.isprintable() else " " for letter in line)


def remark_lines(finding: Finding) -> list[str]:
    """What a finding that is not ok has to say, apart from its value."""
    lines = [finding.meaning, f"Threshold: {finding.threshold}. Source: {finding.source}."]
    lines += [f"For example: {example_text(example)}" for example in finding.examples[:3]]
    return [*lines, f"What to do: {finding.advice}"]


def report_text(report: HealthReport) -> str:
    """The whole report as plain text."""
    lines = [f"{report.name}: {report.headline}" if report.name else report.headline, *report.statements, ""]
    width = max(len(finding.name) for finding in report.findings)
    lines += [f"{finding.status:<12}  {finding.name:<{width}}  {finding.shown}" for finding in report.findings]
    for finding in (*report.of_status("bad"), *report.of_status("warn")):
        lines += ["", f"{finding.status}: {finding.name}: {finding.shown}"]
        lines += [f"  {line}" for line in remark_lines(finding)]
    return "\n".join(lines)
