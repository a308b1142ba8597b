"""Runs that end before their plan: at the spending cap, and at a host that keeps refusing.

In a world without time.
"""

from __future__ import annotations

import dataclasses
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from bench.api.answer import Answer
from bench.load.endpoint import BodyWriter, Endpoint, LaneState
from bench.load.generator import Generator
from bench.load.guard import FEWEST, SUSTAINED_NS, Caps, Guard, Guarded, Recent, should_stop
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.request import Attempt, Request
from bench.plan.budget import PROMPT_MARGIN
from bench.plan.schedule import Plan
from bench.plan.target import Target
from bench.record.pieces import SegmentWriter
from bench.record.samples import Outcome, Reason
from bench.units import MS, S
from tests.support.world import TOKEN, Ask, Reply, World, chunk, plan_for, text

#: a tenth of a cent a token in, a cent a token out: 2 USD at most for 1,000 and 100
PRICES: dict[str, Any] = {
    "input_usd_per_million": "1000",
    "output_usd_per_million": "10000",
    "as_of": "2026-11-23",
    "source": "s",
}
SIZES: dict[str, Any] = {
    "prompt_tokens": [{"fixed": 1000 - PROMPT_MARGIN}],
    "output_tokens": [{"fixed": 100}],
}
FAR = "http://api.example.com/v1"


class Told(Journal):
    """A journal that passes on what it records."""

    guard: Guard

    def record(self, request: Request, outcome: Outcome, note: str, lane_index: int) -> None:
        super().record(request, outcome, note, lane_index)
        self.guard.ended(request, outcome, note, lane_index)


class Way:
    """Hears of an attempt's end and has nothing to do."""

    def attempt_ended(self, *_: object) -> None:
        return


def play(plan: Plan, answer: Any, **caps: Any) -> tuple[Journal, Guard, World, list[str]]:
    """Play a guarded plan; what the guard said ends it."""
    world = World(answer)
    journal = Told(
        SegmentWriter(Path("never-written")),
        "run",
        len(plan.schedule),
        [len(lane.phases) for lane in plan.lanes],
        [],
    )
    told: list[str] = []

    def tell(why: str) -> None:
        told.append(why)
        generator.stop()

    guard = journal.guard = Guard(plan.lanes, plan.schedule, Caps(**caps), tell)
    states = [
        LaneState(
            lane,
            Guarded(
                Endpoint(cast("Any", world), BodyWriter(lane, plan.schedule, text())),
                guard,
                lambda: world.now,
            ),
            lane.profile.max_in_flight,
        )
        for lane in plan.lanes
    ]
    generator = Generator(
        plan.lanes,
        plan.schedule,
        states,
        journal,
        HarnessProbe(),
        clock=lambda: world.now,
        alarm=world.alarm,
    )
    world.play(generator)
    return journal, guard, world, told


def billed(after_ns: int, prompt: int, output: int) -> Reply:
    """A sound answer with usage, whole after `after_ns`."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n' % (
        prompt,
        output,
    )
    return Reply(
        head=after_ns, body=TOKEN + chunk({}, "stop") + usage + b"data: [DONE]\n\n", end=after_ns
    )


def status(code: int) -> Reply:
    return Reply(head=50 * MS, status=code, body=b"{}", end=50 * MS)


def test_nothing_is_sent_that_could_pass_the_cap() -> None:
    """Ten a second, 350 ms and 1 USD each, 2 at most, cap 10: row k waits for k - 3 + 2 · 4 <= 10,
    so six are sent.
    """
    plan = plan_for(
        {"kind": "constant", "rate": "10/s"}, {"prices": PRICES}, duration="10s", **SIZES
    )
    journal, guard, world, told = play(
        plan, lambda _: billed(350 * MS, 500, 50), cost_usd=Fraction(10)
    )
    assert sorted(world.bodies) == list(range(6))
    assert [Outcome(value).name for value in journal.samples["outcome"]] == ["ok"] * 6 + [
        "never_sent"
    ] * 94
    assert told == [guard.why]
    assert (
        "3.00 USD are spent and 6.00 USD may still be billed for requests under way, of 10.00 USD"
        in told[0]
    )
    assert guard.facts() == {"cap_usd": 10.0, "spent_usd": 6.0, "stop_rule": []}


def test_every_call_of_a_route_is_billed() -> None:
    """A call cut off on the cheap leg at its most (0.2 USD), then the dear leg's answer as billed
    (1 USD).
    """
    cheap = PRICES | {"input_usd_per_million": "100", "output_usd_per_million": "1000"}
    legs = tuple(
        Target.model_validate(
            {"description": "d", "name": name, "base_url": FAR, "model": "m", "prices": prices}
        )
        for name, prices in (("a", cheap), ("b", PRICES))
    )
    route = Target.model_validate({"description": "d", "name": "r", "route": {"legs": ["a", "b"]}})
    made = plan_for({"kind": "constant", "rate": "10/s"}, requests=3, **SIZES)
    lanes = [dataclasses.replace(made.lanes[0], target=route.model_copy(update={"legs": legs}))]
    guard = Guard(lanes, made.schedule, Caps(Fraction(4)), lambda _: None)
    assert guard.begin(0)
    for leg, outcome in enumerate((Outcome.censored, Outcome.ok)):
        attempt = Attempt(0, Way(), leg + 1, leg, Reason.first, 0, True)
        attempt.sent_ns, attempt.outcome, attempt.answer = 1, outcome, Answer()
        attempt.answer.prompt_tokens, attempt.answer.output_tokens = 500, 50
        guard.called(attempt)
    row = Request(0, None, 0, True, array("q"), lambda *_: None)
    guard.ended(row, Outcome.ok, "", 0)
    assert guard.facts()["spent_usd"] == pytest.approx(0.2 + 1)
    assert [guard.begin(row) for row in (1, 2)] == [True, False]


def test_a_run_within_its_cap_is_left_alone() -> None:
    """Twenty rows of 1 USD, one after another, under 21 USD: the last one's margin fits, and all
    are sent.
    """
    plan = plan_for(
        {"kind": "constant", "rate": "1/s"}, {"prices": PRICES}, duration="20s", **SIZES
    )
    journal, guard, _, told = play(plan, lambda _: billed(350 * MS, 500, 50), cost_usd=Fraction(21))
    assert (journal.samples["outcome"] == Outcome.ok).all()
    assert (told, guard.why) == ([], None)


def test_rows_that_wait_behind_the_in_flight_cap_end_with_the_run() -> None:
    """One slot, a thousand rows behind it, money for one: all end as never sent, without a call for
    each.
    """
    plan = plan_for(
        {"kind": "constant", "rate": "1000/s"},
        {"prices": PRICES},
        duration="1s",
        max_in_flight=1,
        **SIZES,
    )
    journal, _, world, _ = play(plan, lambda _: billed(2 * S, 1000, 100), cost_usd=Fraction(3))
    assert sorted(world.bodies) == [0]
    assert (journal.samples["outcome"] == Outcome.never_sent).sum() == 999


@pytest.mark.parametrize(
    ("code", "rule", "url", "sent"),
    [
        (429, True, FAR, 301),
        (503, True, FAR, 301),
        (429, False, FAR, 600),
        (429, True, "http://127.0.0.1:9/v1", 600),
    ],
)
def test_a_host_that_refuses_for_half_a_minute_is_left_alone(
    code: int, rule: bool, url: str, sent: int
) -> None:
    """Ten a second: the first end comes at 0.05 s, the one 30 s later is row 300's; elsewhere or
    otherwise all go out.
    """
    plan = plan_for({"kind": "constant", "rate": "10/s"}, {"base_url": url}, duration="60s")
    _, _, world, told = play(plan, lambda _: status(code), stop_rule=rule)
    assert len(world.bodies) == sent
    assert bool(told) is (sent < 600)
    assert all(
        "t0: 100 % of 301 requests in 30 s ended with HTTP 429 or 5xx" in why for why in told
    )


@pytest.mark.parametrize(("served_first", "sent"), [(False, 10), (True, 600)])
def test_first_answers_decide_whether_we_asked_rightly(served_first: bool, sent: int) -> None:
    """Ten 404s and nothing served: it will not change. After one answer a 404 is the host's."""
    plan = plan_for({"kind": "constant", "rate": "10/s"}, {}, duration="60s")

    def provider(ask: Ask) -> Reply:
        return billed(1 * MS, 12, 4) if served_first and ask.row == 0 else status(404)

    _, _, world, told = play(plan, provider, stop_rule=True)
    assert len(world.bodies) == sent
    assert told == ([] if served_first else ["t0: 10 answers alike and nothing served: HTTP 404"])


def test_an_outage_of_twenty_seconds_is_endured() -> None:
    """Two thirds of the last half minute refused is less than nine tenths: the run goes on and
    measures it.
    """

    def provider(ask: Ask) -> Reply:
        return status(503) if 20 * S <= ask.now_ns < 40 * S else billed(50 * MS, 12, 4)

    plan = plan_for({"kind": "constant", "rate": "10/s"}, {"base_url": FAR}, duration="60s")
    journal, _, world, told = play(plan, provider, stop_rule=True)
    assert (len(world.bodies), told) == (600, [])
    assert (journal.samples["outcome"] == Outcome.http_5xx).sum() == 200


def test_workers_share_the_money_and_each_has_the_rule() -> None:
    """A third each, so that together they cannot pass the cap."""
    caps = Caps(Fraction(5), True)
    assert caps.part(3) == Caps(Fraction(5, 3), True)
    assert Caps(None, True).part(3) == Caps(None, True)


@pytest.mark.parametrize(
    ("refused", "ended", "watched", "stop"),
    [
        (90, 100, SUSTAINED_NS, True),
        (89, 100, SUSTAINED_NS, False),
        (90, 100, SUSTAINED_NS - 1, False),
        (FEWEST, FEWEST, SUSTAINED_NS, True),
        (FEWEST - 1, FEWEST - 1, SUSTAINED_NS, False),
        (0, 0, SUSTAINED_NS, False),
    ],
)
def test_the_stop_rule(refused: int, ended: int, watched: int, stop: bool) -> None:
    """Nine tenths of twenty or more, over half a minute that was watched whole."""
    assert should_stop(refused, ended, watched) is stop


def test_only_the_last_half_minute_counts() -> None:
    """A good hour before does not outweigh it: the window's count is that of a plain sum over its
    rows.
    """
    recent, ends = Recent(), []
    for tick in range(1200):
        outcome = Outcome.rate_limited if tick % 3 == 0 or tick > 900 else Outcome.ok
        ends.append((tick * 100 * MS, outcome))
        recent.add(*ends[-1])
        assert recent.refused == sum(
            o == Outcome.rate_limited for at, o in ends if at >= ends[-1][0] - SUSTAINED_NS
        )
