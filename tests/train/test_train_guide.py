"""The code on the page about training runs as it stands there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/guide/train.md"


def test_every_block_runs(capsys):
    blocks = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 5
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["loss"].isfinite()
    assert "0." in capsys.readouterr().out


def test_every_objective_is_named():
    from polyvec.core.registry import components

    page = PAGE.read_text(encoding="utf-8")
    for part in components("objective"):
        assert f"`{part.target.partition(':')[2]}`" in page
