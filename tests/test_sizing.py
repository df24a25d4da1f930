"""The sizing page: up to date with the benchmarks, and its formulas against sums done by hand."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sizing():
    import sys

    spec = importlib.util.spec_from_file_location("sizing", ROOT / "docs/sizing.py")
    loaded = sys.modules["sizing"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    yield loaded
    del sys.modules["sizing"]


def test_the_page_is_up_to_date(sizing):
    page = sizing.PAGE.read_text(encoding="utf-8")
    assert sizing.updated(page) == page, "run: python docs/sizing.py"


def test_figures_are_those_of_the_benchmarks(sizing):
    measured = sizing.Measured.read()
    search = json.loads((ROOT / "results/benchmarks/store_search.json").read_text())
    assert measured.dim == search["debian"]["dim"]
    assert measured.bytes_beside_vector + 4 * measured.dim == search["debian"]["bytes on disk a document"]
    assert 1 / measured.write_seconds == pytest.approx(
        search["debian"]["writing, documents a second"]["index_sources, vectors at hand"]
    )


def test_formulas_by_hand(sizing):
    measured = sizing.Measured(100, 90, 8, 68, 0.001, 0.0005, 2.0, 10.0, 5.0, 1000)
    found = sizing.estimate(7_200_000, measured, sizing.Prices(core_hour=0.5, gigabyte_month=2.0))
    assert found["encoding, core hours"] == pytest.approx(20)
    assert found["encoding, price"] == pytest.approx(10)
    assert found["writing and index, hours"] == pytest.approx(3)
    assert found["gigabytes"] == pytest.approx(0.72)
    assert found["gigabytes, 1 bit a dimension"] == pytest.approx(0.4968)
    assert found["a month, price"] == pytest.approx(1.44)
    assert found["exact search, s"] == pytest.approx(0.074)
    assert sizing.line([1, 2, 3], [5, 7, 9]) == pytest.approx((3, 2))


def test_other_prices_on_the_command_line(sizing, capsys):
    before = sizing.PAGE.read_text(encoding="utf-8")
    sizing.main(["--print", "--core-hour", "1", "--gigabyte-month", "3", "--currency", "EUR", "--documents", "1e6"])
    out = capsys.readouterr().out
    assert "1 EUR a core hour, 3 EUR a gigabyte and month" in out
    assert "| Documents | 1,000,000 |" in out
    assert sizing.PAGE.read_text(encoding="utf-8") == before


def test_numbers_for_people(sizing):
    assert [sizing.short(value) for value in (0.01234, 12.345, 123456)] == ["0.0123", "12.3", "123,000"]
    assert [sizing.span(hours) for hours in (0.01, 0.5, 5, 100)] == ["36 s", "30 minutes", "5 hours", "4.17 days"]
