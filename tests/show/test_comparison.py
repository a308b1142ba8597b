"""A comparison on the page and on the screen: outcome first, reasons for what is missing, two
figures.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from bench.judge.compare.arms import Arm
from bench.judge.compare.compare import Question, compare_arms
from bench.record.records.comparisons import Comparison, RatioRecord
from bench.show.comparison import comparison_screen, comparison_section
from bench.show.document import Figure, Pairs, Section, Table
from bench.show.plots.compared import ratio_figure, shift_figure
from bench.show.render_terminal import screen

pytestmark = pytest.mark.figures

S, MS = 10**9, 10**6


def made(ratio: float = 0.5, rows: int = 2_000, name: str = "pro", **question: Any) -> Comparison:
    """The record of two arms of lognormal answers, due evenly over 400 s in two phases."""
    rng = np.random.default_rng(1)
    facts = {
        "run": "r",
        "machine": {},
        "clock": "k",
        "simulated": False,
        "profile": "p",
        "closed_loop": False,
        "began_ns": 0,
        "ended_ns": 400 * S,
        "phases": ["quiet", "burst"],
        "buckets": ["≤1K"],
        "limit_ns": None,
        "unfit": None,
        "breach_usd": None,
        "spans": [["quiet", 0, 200 * S], ["burst", 200 * S, 400 * S]],
        "usd_per_request": 0.001,
    }
    at_ns = np.arange(rows) * (400 * S // rows)
    phase, bucket = (at_ns >= 200 * S).astype(np.int64), np.zeros(rows, np.int64)
    arms = [
        Arm(
            label,
            "e2e",
            at_ns,
            200 * MS * times * rng.lognormal(0, 0.5, rows),
            phase,
            bucket,
            0,
            facts | {"usd_per_request": usd},
        )
        for label, times, usd in (("standard", 1.0, 0.001), (name, ratio, 0.003))
    ]
    return compare_arms(arms[0], arms[1], Question(**{"limit_ns": 500 * MS, **question}))


def about_of(part: Section) -> dict[str, str]:
    """What stands beside each name of the first list."""
    return dict(part.of(Pairs)[0].items)


def test_the_part_says_what_the_record_holds() -> None:
    """Title, outcome, reason, ratios, phases and price of the record stand in the part, in this
    order.
    """
    record = made()
    part = comparison_section(record, 3)
    assert part.title == "pro against standard"
    assert list(about_of(part)) == [
        "outcome",
        "because",
        "design",
        "rows",
        "over 500 ms",
        "everywhere",
        "price",
    ]
    about = about_of(part)
    assert about["outcome"].startswith("MATERIALLY_BETTER (better by more than the margin), BETTER")
    assert about["because"] == record.reason
    assert "+2.00 USD per 1,000 requests" in about["price"]
    assert [table.caption for table in part.of(Table)] == [
        "Ratio of the quantiles, other over baseline; of the p99 the bound that decides",
        "By phase: p99, and how far the shares over the limit lie apart",
    ]
    assert [row[0] for row in part.of(Table)[0].grid("html").rows] == ["p50", "p95", "p99"]
    assert part.of(Table)[0].grid("html").rows[2][3] == f"{record.ratios['p99'].ratio:.3f}"
    assert [row[:2] for row in part.of(Table)[1].grid("html").rows] == [
        [name, record.by_phase[name].headline] for name in ("quiet", "burst")
    ]
    assert [figure.file for figure in part.of(Figure)] == [
        "compare-03-shift.svg",
        "compare-03-ratios.svg",
    ]


@pytest.mark.parametrize("ratio", [0.123456, 5.4321, 43.21, 432.1])
def test_the_sentence_and_the_table_round_alike(ratio: float) -> None:
    """The p99 ratio and its bound in the reason are those of the table, digit for digit."""
    part = comparison_section(made(ratio))
    row = next(row for row in part.of(Table)[0].grid("html").rows if row[0] == "p99")
    assert about_of(part)["because"] == f"p99 ratio {row[3]}, {row[4]}"


def test_the_figures_are_svg_that_name_both_arms() -> None:
    """Both parse, carry their title, and the ratios are written beside their bounds."""
    record = made()
    pair = "pro against standard"
    for svg in (shift_figure(record, pair), ratio_figure(record, pair)):
        assert svg is not None
        assert ET.fromstring(svg).get("aria-label", "").endswith("pro against standard")  # noqa: S314 our own
    assert f"{record.ratios['p99'].ratio:.3f}, at most " in str(ratio_figure(record, ""))
    assert "p99, burst" not in str(
        ratio_figure(made(rows=1_500), "")
    )  # 750 rows a phase have no p99


def test_what_cannot_be_compared_is_said_without_figures() -> None:
    """An arm without rows: INCONCLUSIVE, its reason, no table, no figure, no number."""
    record = made()
    empty = record.replace(
        outcomes=["INCONCLUSIVE"],
        headline="INCONCLUSIVE",
        reason="pro has no rows",
        ratios={},
        exceedance=None,
        shift=[],
        permutation=None,
        by_phase={},
        by_bucket={},
    )
    part = comparison_section(empty)
    assert (part.of(Table), part.of(Figure)) == ([], [])
    assert "pro has no rows" in screen(comparison_screen(empty)).plain


def test_a_failing_arm_shows_absent_numbers() -> None:
    """A ratio among failures is a dash, a limit that exists stands alone."""
    record = made()
    failing = RatioRecord(
        baseline_ms=900.0, other_ms=None, ratio=None, interval=(2.5, None), mde=None
    )
    record = record.replace(
        ratios={**record.ratios, "p99": failing}, bound=(2.5, None), bound_confidence=0.975
    )
    assert comparison_section(record).of(Table)[0].grid("html").rows[2][2:] == [
        "–",
        "–",
        "at least 2.500 (97.5 %)",
        "–",
    ]


def test_the_screen_is_not_steered_by_names() -> None:
    """A target's name with markup and a control character is written out, and no line is wider than
    asked.
    """
    text = screen(comparison_screen(made(name="[red]pro\x1b[2J")), 100)
    assert "[red]pro\\x1b[2J against standard" in text.plain
    assert "\x1b" not in text.plain
    assert max(map(len, text.plain.splitlines())) <= 100
