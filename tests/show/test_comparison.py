"""A comparison on the page and on the screen: the answer first, reasons for what is missing, the
price, a figure.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from bench.judge.compare.arms import Arm
from bench.judge.compare.compare import Question, compare_arms
from bench.judge.compare.tier_price import Fee
from bench.record.records.comparisons import ArmFacts, Comparison, RatioRecord
from bench.show.compared_screen import compared_result
from bench.show.document import Document, Drawer, Figure, Pairs, Section, Table, Text
from bench.show.graphics.ratio import RatioRow, RatioScale
from bench.show.render_html import html_page
from bench.show.result import MOST_LINES
from bench.show.tier_answer import tier_answer, tier_answers
from bench.show.tiers import pair_section, tiers_section
from tests.support.screens import result_lines

S, MS = 10**9, 10**6


def made(ratio: float = 0.5, rows: int = 2_000, name: str = "pro", **question: Any) -> Comparison:
    """The record of two arms of lognormal answers, due evenly over 400 s in two phases."""
    rng = np.random.default_rng(1)
    facts = ArmFacts(
        run="r",
        machine={},
        clock="k",
        simulated=False,
        profile="p",
        closed_loop=False,
        began_ns=0,
        ended_ns=400 * S,
        phases=["quiet", "burst"],
        buckets=["≤1K"],
        limit_ns=None,
        unfit=None,
        breach_usd=None,
        spans=[["quiet", 0, 200 * S], ["burst", 200 * S, 400 * S]],
        usd_per_request=0.001,
    )
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
            facts.replace(usd_per_request=usd),
        )
        for label, times, usd in (("standard", 1.0, 0.001), (name, ratio, 0.003))
    ]
    return compare_arms(arms[0], arms[1], Question(**{"limit_ns": 500 * MS, **question}))


def about_of(part: Section) -> dict[str, str]:
    """What stands beside each name of how the two were compared."""
    (how,) = [each.nodes[0] for each in part.of(Drawer) if each.title.startswith("How ")]
    assert isinstance(how, Pairs)
    return dict(how.items)


def rows_of(part: Section) -> list[list[str]]:
    """The first table of a page."""
    return part.of(Table)[0].grid("html").rows


def said_in(nodes: list[Text]) -> str:
    """All texts."""
    return " ".join(f"{node.label} {node.text}" for node in nodes)


def test_the_part_says_what_the_record_holds() -> None:
    """Title, answer, ratios, outcome of each phase and price of the record stand in the part."""
    record = made()
    part = pair_section(record, 3)
    assert part.title == "pro against standard"
    p99 = record.ratios["p99"]
    assert part.answer.startswith("Yes: pro has a p99 of ")
    assert rows_of(part)[2][4] == f"{p99.ratio:.3f}"
    assert [row[0] for row in rows_of(part)] == [
        "p50",
        "p95",
        "p99",
        "p99 in quiet",
        "p99 in burst",
    ]
    assert [row[-1] for row in rows_of(part)] == ["", "", *["materially better"] * 3]
    about = about_of(part)
    assert list(about) == ["outcome", "because", "design", "over 500 ms", "everywhere"]
    assert about["because"] == record.reason
    assert "pro costs 2.00 USD more per 1,000 requests" in said_in(part.of(Text))
    assert [figure.file for figure in part.of(Figure)] == ["compare-03-shift.svg"]


@pytest.mark.parametrize("ratio", [0.123456, 5.4321, 43.21, 432.1])
def test_the_sentence_and_the_table_round_alike(ratio: float) -> None:
    """The p99 ratio and its bound in the reason are those of the table, digit for digit."""
    part = pair_section(made(ratio))
    row = next(row for row in rows_of(part) if row[0] == "p99")
    assert about_of(part)["because"] == f"p99 ratio {row[4]}, {row[5]}"


def test_the_shift_is_svg_with_its_numbers() -> None:
    """It parses by itself and is labelled by the differences; nothing in it asks for a page's
    style.
    """
    record = made()
    (figure,) = pair_section(record).of(Figure)
    label = ET.fromstring(figure.svg).get("aria-label", "")  # noqa: S314 our own
    last = record.shift[-1].shift_ms
    assert f"p99 -{abs(last):,.0f} ms" in label
    assert "var(" not in figure.svg
    assert "currentColor" not in figure.svg
    assert len(figure.svg) < 4_000


def test_a_better_arm_is_worth_it_where_it_is_better() -> None:
    """Faster in one phase, the same in the other: yes in that one, and its own p99s beside it."""
    record = made()
    same = record.by_phase["quiet"].replace(headline="EQUIVALENT")
    burst = record.by_phase["burst"]
    record = record.replace(by_phase={"quiet": same, "burst": burst})
    p99 = burst.ratios["p99"]
    assert p99.other_ms is not None
    assert p99.baseline_ms is not None
    said = tier_answer(record)
    assert said.startswith(
        f"Yes in burst: pro has a p99 of {p99.other_ms / 1000:.2f} s, standard of"
        f" {p99.baseline_ms / 1000:.2f} s; in quiet the two are equivalent. pro costs 2.00 USD"
    )


def test_an_equal_tier_that_costs_a_fee_is_not_to_be_bought() -> None:
    """40,000 USD a year for nothing: no, do not buy; the fee by volume where none is stated."""
    record = made(ratio=1.0, rows=8_000, fee=Fee(yearly_usd=40_000.0))
    assert record.headline == "EQUIVALENT"
    said = tier_answer(record)
    assert said.startswith("No: pro is equivalent to standard (p99 ratio ")
    assert "40,000 USD a year on top of its tokens" in said
    assert said.endswith("Do not buy it.")
    volumes = [each for each in pair_section(record).of(Drawer) if "by volume" in each.title]
    (table,) = volumes[0].nodes
    assert isinstance(table, Table)
    # 40,000 / 12 over 10,000 requests is 333.33 per 1,000, and 2.00 by tokens
    assert table.grid("html").rows[0][:2] == ["10,000", "335.33"]


def test_a_price_that_nobody_stated_is_not_taken_for_none() -> None:
    """Neither arm has a price: said so, with what a price would buy; never `costs no more`."""
    record = made()
    bare = record.replace(price=record.price.replace(extra_usd_per_request=None))
    assert "Its price is not known. What it buys: " in tier_answer(bare)
    free = record.replace(price=record.price.replace(extra_usd_per_request=-0.001))
    assert tier_answer(free).endswith("pro costs no more.")


def test_several_pairs_share_an_axis_and_say_whose_they_are() -> None:
    """Each answer begins with its stage; the dot of a ratio lies at the same place in both."""
    arm = made().baseline
    records = [
        made(ratio).replace(
            baseline=arm.replace(name=f"standard/{stage}"), other=arm.replace(name=f"pro/{stage}")
        )
        for ratio, stage in ((0.5, "one"), (0.1, "two"))
    ]
    said = tier_answers(records)
    assert [each.partition(",")[0] for each in said] == ["one: yes", "two: yes"]
    section = tiers_section(records)
    assert section is not None
    assert section.answer == " ".join(said)
    axes = [table.grid("html").axes[3] for table in section.of(Table)]
    assert axes[0] == axes[1]
    assert tiers_section([]) is None


def test_a_ratio_lies_on_its_axis_by_its_logarithm() -> None:
    """From 0.1 to 10 the middle is 1, a half lies log10(5)/2 of the width from the left."""
    scale = RatioScale(0.1, 10.0, 0.1)
    assert [scale.place(ratio) for ratio in (0.01, 0.1, 0.5, 1, 10, 99)] == [
        0,
        0,
        34.95,
        50,
        100,
        100,
    ]
    markup = RatioRow(0.5, None, 2.0, scale, "pass", 'a "quoted" <name>').markup()
    assert 'aria-label="a &#34;quoted&#34; &lt;name&gt;"' in markup
    assert '<i class="w pass" style="left:0.0%;width:65.05%">' in markup
    assert '<i class="d pass" style="left:34.95%">' in markup


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
    part = pair_section(empty)
    assert (part.of(Table), part.of(Figure)) == ([], [])
    assert part.answer == "Not decided: pro against standard (pro has no rows)."
    assert "pro has no rows" in " ".join(result_lines(compared_result([empty], [])))


def test_a_failing_arm_shows_absent_numbers() -> None:
    """A ratio among failures is a dash, a limit that exists stands alone."""
    record = made()
    failing = RatioRecord(
        baseline_ms=900.0, other_ms=None, ratio=None, interval=(2.5, None), mde=None
    )
    record = record.replace(
        ratios={**record.ratios, "p99": failing}, bound=(2.5, None), bound_confidence=0.975
    )
    assert rows_of(pair_section(record))[2][2:6] == ["–", "", "–", "at least 2.500 (97.5 %)"]


def test_a_hostile_name_is_text_on_the_page() -> None:
    """Of an arm: in the answer, the heading, the table's heads and the figure's label."""
    section = tiers_section([made(name="<b onload=x>\x1b[2J\u202e")])
    assert section is not None
    page = html_page(Document("r", "t", "PASS", sections=[section]))
    assert "<b onload" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;b onload=x&gt;\\x1b[2J\\u202e" in page


def test_the_screen_is_not_steered_by_names() -> None:
    """A target's name with markup and a control character is written out, and no line is wider than
    asked.
    """
    for width in (80, 100):
        lines = result_lines(compared_result([made(name="[red]pro\x1b[2J")], []), width)
        assert "[red]pro\\x1b[2J against standard" in lines[0]
        assert "\x1b" not in "".join(lines)
        assert max(map(len, lines)) <= width
        assert len(lines) <= MOST_LINES
