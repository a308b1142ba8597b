"""What answers cost, and whether the harness can be trusted: sections of a small made run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.judge.review import Records
from bench.record.records.census import ExactShare, Months
from bench.record.records.manifest import LaneRecord
from bench.record.records.summary import Cost, HealthRecord
from bench.show.costs import costs_section
from bench.show.document import Bullets, Drawer, Section, Table, Text
from bench.show.trust import conduct_drawers, trust_section
from tests.support.made_months import PERIOD, log_of
from tests.support.made_runs import Made

FACTS: dict[str, Any] = {
    "harness_lag_p99_ms": 2.0,
    "harness_lag_max_ms": 25.0,
    "due": 1000,
    "never_sent": 0,
    "could_not_send": 0,
    "censored": 0,
    "user_stamps": 10,
    "held_up": 0,
    "clock_step_ms": -75.0,
    "suspended_ms": 0.0,
    "gateway": {"a": {"kept_up": True}, "b": {"kept_up": False}},
}
CONTRACT = {
    "title": "c",
    "clause": [{"metric": "e2e", "quantile": 0.99, "limit": "800ms"}],
}


def priced(made: Made, **usd: float | None) -> Records:
    """The run's records, its targets having cost so much."""
    summary = made.records.summary
    targets = {
        name: target.replace(
            cost=None if usd[name] is None else Cost(usd=float(usd[name] or 0), as_of="2026-11-23")
        )
        for name, target in summary.targets.items()
    }
    return replace(made.records, summary=summary.replace(targets=targets))


def lanes_of(made: Made, **facts: Any) -> list[LaneRecord]:
    """The run's lanes with other facts."""
    return [lane.replace(**facts) for lane in made.run.lanes]


def fit(made: Made, state: Any = "valid", *reasons: str, **facts: Any) -> Records:
    """The run's records, its harness having been so."""
    health = HealthRecord(state=state, reasons=list(reasons), facts=FACTS | facts)
    return replace(made.records, summary=made.records.summary.replace(health=health))


def checks_of(section: Section) -> dict[str, list[str]]:
    """Measured, budget and word of each check."""
    rows = section.of(Table)[0].grid("markdown").rows
    return {row[0]: row[1:] for row in rows}


def test_the_range_is_per_answer_and_what_has_no_price_is_named(spoilt: Made) -> None:
    """Of the answers that came, not of the requests that were sent; equal ones share a row."""
    ok = {name: target.ok for name, target in spoilt.records.summary.targets.items()}
    both = {name: 0.0004 * n for name, n in ok.items()}
    same = costs_section(priced(spoilt, **both), lanes_of(spoilt, contract_written=None))
    assert same is not None
    assert same.answer == "0.4 USD per 1,000 answers, each target alike."
    (row,) = same.of(Table)[0].grid("markdown").rows
    assert row == ["standard, pro", "0.4"]
    ten = both | {"pro": 10 * both["pro"]}
    apart = costs_section(priced(spoilt, **ten), lanes_of(spoilt, contract_written=None))
    assert apart is not None
    assert apart.answer == "From 0.4 to 4.00 USD per 1,000 answers: pro costs 10.0 times standard."
    bars = [row[1] for row in apart.of(Table)[0].grid("html").graphics]
    assert [getattr(bar, "share", None) for bar in bars] == [pytest.approx(0.1), 1.0]
    one = costs_section(priced(spoilt, standard=1.0, pro=None), lanes_of(spoilt))
    assert one is not None
    assert one.of(Text)[-1].text == (
        "List prices as of 2026-11-23; tokens as the servers counted them. No price is known of"
        " pro."
    )


def test_a_breach_is_priced_by_the_contract_alone(spoilt: Made) -> None:
    """Its own sum where it has one; nothing is projected from the run's failures."""
    dear = lanes_of(spoilt, contract_written=CONTRACT | {"breach_cost_usd": 1_000_000})
    section = costs_section(priced(spoilt, standard=1.0, pro=1.0), dear)
    assert section is not None
    assert section.answer.endswith(" The contract prices a breach at 1,000,000 USD.")
    free = lanes_of(spoilt, contract_written=None)
    plain = costs_section(priced(spoilt, standard=1.0, pro=1.0), free)
    assert plain is not None
    assert "breach" not in plain.answer
    assert costs_section(priced(spoilt, standard=None, pro=None), free) is None


def test_a_log_says_what_is_due_where_a_sample_could_only_guess(spoilt: Made) -> None:
    """The credit of the period's log beside what answers cost; none of a step that is not
    reached.
    """
    records = priced(spoilt, standard=1.0, pro=1.0)
    months = Months(format=Months.FORMAT, months={"log": log_of(PERIOD)})
    section = costs_section(replace(records, census=months), lanes_of(spoilt))
    assert section is not None
    assert section.answer.endswith(" The log log gives a credit of 120.00 USD for 2026-09.")
    assert PERIOD.credit is not None
    none = PERIOD.credit.replace(share=ExactShare(share=0.0, fraction="0"), usd="0.00")
    kept = log_of(PERIOD.replace(credit=none))
    records = replace(records, census=Months(format=Months.FORMAT, months={"log": kept}))
    section = costs_section(records, lanes_of(spoilt))
    assert section is not None
    assert "credit" not in section.answer


def test_each_budget_stands_beside_what_was_used_of_it(spoilt: Made) -> None:
    """1 % of an 800 ms limit is 8 ms; 10 of 1,000 stamps of ours are 1 % of 5 %; a clock that
    stepped 75 ms is over 50; one stage of two fell behind.
    """
    checks = checks_of(trust_section(fit(spoilt), lanes_of(spoilt, contract_written=CONTRACT)))
    assert checks["Sent late by us, p99"] == [
        "2 ms",
        "8 ms, 1 % of the tightest limit",
        "within",
    ]
    assert checks["Answers stamped by us, not by the kernel"] == ["1 %", "5 %", "within"]
    assert checks["Wall clock stepped by"] == ["75.0 ms", "50.0 ms", "over"]
    assert checks["Simulator behind its own plan"] == ["1 of 2 stages", "0", "over"]
    section = trust_section(fit(spoilt), lanes_of(spoilt, contract_written=CONTRACT))
    used = [row[2] for row in section.of(Table)[0].grid("html").graphics]
    assert [getattr(each, "share", None) for each in used][:3] == [
        pytest.approx(0.25),
        0.0,
        pytest.approx(0.2),
    ]
    free = checks_of(trust_section(fit(spoilt), lanes_of(spoilt, contract_written=None)))
    assert free["Sent late by us, p99"] == ["2 ms", "10.0 ms", "within"]


def test_the_answer_is_yes_with_care_or_no(spoilt: Made) -> None:
    """With what was sent, or each reason in a sentence; more than three are in a drawer."""
    lanes = lanes_of(spoilt)
    assert trust_section(fit(spoilt), lanes).answer == (
        "Yes: it sent all 1,000 due requests, 2 ms late at p99."
    )
    few = trust_section(fit(spoilt, never_sent=30), lanes).answer
    assert few == "Yes: it sent 970 of 1,000 due requests, 2 ms late at p99."
    late = trust_section(fit(spoilt, "degraded", "sent late: 12 ms"), lanes).answer
    assert late.startswith("With care: sent late: 12 ms. Sending late only lengthens latencies")
    many = trust_section(fit(spoilt, "invalid", "a", "b", "c\x1b[2J", "d", "e"), lanes)
    assert many.answer == "No: a; b; c\\x1b[2J. 2 more reasons below."
    (drawer,) = [each for each in many.of(Drawer) if each.title == "Every reason"]
    (reasons,) = drawer.nodes
    assert isinstance(reasons, Bullets)
    assert len(reasons.items) == 5


def test_what_was_computed_is_not_blamed(spoilt: Made) -> None:
    """Of a run that was computed whole nothing was sent; of a part of it the rest is judged."""
    records = fit(spoilt, "invalid", "sent late: 900 ms")
    whole = trust_section(records, lanes_of(spoilt, simulated=True))
    assert whole.answer.startswith("Nothing was sent, so there was no harness to distrust")
    assert whole.of(Table) == []
    first, second = spoilt.run.lanes
    part = trust_section(fit(spoilt), [first, second.replace(simulated=True, stage="other")])
    rows = spoilt.records.summary.targets[second.name].requests
    assert part.answer.endswith(
        f" 1 target ({rows:,} requests) was computed: nothing was sent for them, and this says"
        " nothing of them."
    )
    other = [first, second.replace(simulated=True, stage="other")]
    (drawer,) = conduct_drawers(spoilt.records.summary, other)
    (table,) = drawer.nodes
    assert isinstance(table, Table)
    assert table.grid("markdown").rows[1] == ["other", f"{rows:,}", "computed, nothing sent"]
