"""Was the harness fit to judge? Asked before any contract is.

In: the rows, the manifest's facts, the tightest latency limit. Out: valid, degraded or invalid,
each with its reasons in sentences. Must stay true: waiting behind an in-flight cap or for a
connection is the server's and the plan's doing, not ours; what is ours is judged against the
limit it could distort.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from bench.judge.mistakes import Mistake
from bench.quantiles import P99
from bench.record.facts import Node
from bench.record.records.harness import Harness, HarnessShards
from bench.record.samples import Columns, Flag, Int, Outcome, Table, latency_ns
from bench.units import MS, nearest_rank, show_duration, show_share

State = Literal["valid", "degraded", "invalid"]
#: Lag beyond this share of the limit can move a verdict (methods: client-limited).
DEGRADED_SHARE = Fraction(1, 100)
INVALID_SHARE = Fraction(10, 100)
#: Without a limit to hold it against, lag is held against these.
DEGRADED_LAG_NS, INVALID_LAG_NS = 10 * MS, 100 * MS
#: Less than this share of what was due left in time: the load was not the one asked for.
SENT_SHARE_INVALID = 0.95
CLOCK_STEP_MS = 50.0
#: Shards whose time zeros lie further apart did not begin together.
START_SKEW_MS = 50.0
#: Kernel stamps do not feel a loop that stands still; beyond this share without them it is
#: reported.
LATE_STAMPS_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Health:
    """The verdict on ourselves."""

    state: State
    reasons: list[str]
    facts: dict[str, Any]
    #: our own lag could have caused a FAIL: judge such clauses by service time too
    client_limited: bool
    #: what was refused because key, model, body or URL were wrong
    mistakes: list[Mistake] = dataclasses.field(default_factory=list)
    #: of an invalid run of several stages: those that were sent, each by its own rows
    by_stage: dict[str, Health] = dataclasses.field(default_factory=dict)

    def of_lane(self, stage: str, *, simulated: bool) -> Health:
        """What speaks against judging a lane: nothing that was sent says anything of a lane that
        was computed.
        """
        if simulated:
            return Health("valid", [], {}, False)
        return self.by_stage.get(stage, self)


@dataclasses.dataclass(frozen=True)
class Conduct:
    """What one node of a run did itself, and what of it speaks against judging: sentences that name
    it.
    """

    node: str
    degraded: list[str]
    invalid: list[str]
    facts: dict[str, Any]
    client_limited: bool

    @property
    def unfit(self) -> bool:
        """Whether anything speaks against it."""
        return bool(self.degraded or self.invalid)


def examine(
    columns: Columns,
    harness: Harness,
    tightest_limit_ns: int | None,
    nodes: Sequence[Conduct] = (),
    not_as_asked: Sequence[str] = (),
    more_facts: Mapping[str, Any] | None = None,
) -> Health:
    """Hold the run's own conduct against its budgets, and each of its `nodes`' against theirs.

    `not_as_asked`: why the load was not the one that was asked for, where these rows do not say it.
    `more_facts` are shown beside those of the harness.
    """
    samples = columns.samples
    lag = latency_ns(samples, "harness_lag")
    lag = lag[lag >= 0]
    p99 = _p99(lag)
    if len(lag):
        worst = int(lag.max())
    else:
        worst = 0
    degraded: list[str] = []
    invalid: list[str] = []
    client_limited = _lag_budget(
        "the harness itself sent late",
        p99,
        worst,
        tightest_limit_ns,
        degraded,
        invalid,
    )
    _sending(samples, harness, degraded, invalid)
    invalid += not_as_asked
    if harness.shards is not None:
        _shards(harness.shards, degraded, invalid)
    for node in nodes:
        invalid += node.invalid
        degraded += node.degraded
    degraded += _receiving(samples, harness, tightest_limit_ns)
    degraded += _clocks(harness)
    facts = {
        "harness_lag_p99_ms": round(p99 / MS, 4),
        "harness_lag_max_ms": round(worst / MS, 4),
        "harness_lag_budget_ms": round(_budget(tightest_limit_ns)[0] / MS, 4),
        **_counts(samples),
        **harness.to_json(),
        **(more_facts or {}),
        **({"nodes": {node.node: node.facts for node in nodes}} if nodes else {}),
    }
    state: State = "invalid" if invalid else "degraded" if degraded else "valid"
    limited = client_limited or any(node.client_limited for node in nodes)
    return Health(state, invalid + degraded, facts, limited)


def _sending(
    samples: Table,
    harness: Harness,
    degraded: list[str],
    invalid: list[str],
) -> None:
    """Was everything sent that was due, by every worker?"""
    ours, due = could_not_send(samples)
    if ours and harness.state != "interrupted":
        text = f"{ours:,} of {due:,} due requests could not be sent"
        (invalid if too_few_sent(ours, due) else degraded).append(text)
    unsent = samples["outcome"] == Outcome.never_sent
    waited = int((unsent & (samples["slot_free_ns"] < 0) & (samples["done_ns"] >= 0)).sum())
    if waited and harness.state == "complete":
        degraded.append(
            f"{waited:,} of {due:,} due requests still waited behind the in-flight cap when the run"
            " ended"
        )
    invalid += [
        f"worker {worker} died: the load was not the one asked for, and its last rows are lost"
        for worker in harness.dead_workers
    ]


def _receiving(
    samples: Table,
    harness: Harness,
    tightest_limit_ns: int | None,
) -> Iterator[str]:
    """Were answers read to their end, and stamped when they came?"""
    cut = int((samples["outcome"] == Outcome.censored).sum())
    if cut:
        yield f"{cut:,} requests were still under way when the run ended"
    user_stamped = _flagged(samples, Flag.USER_STAMP)
    stall_ms = float(harness.loop_stall_max_ms)
    if held_up := _flagged(samples, Flag.HELD_UP):
        yield (
            f"the harness stood still for up to {stall_ms:,.0f} ms: {held_up:,} requests that were"
            " under way or due meanwhile are set aside"
        )
    late_stamps = user_stamped > LATE_STAMPS_SHARE * len(samples)
    if late_stamps and stall_ms * MS > _budget(tightest_limit_ns)[0]:
        yield (
            f"{user_stamped:,} answers were stamped in user space, and the loop stood still for up"
            f" to {stall_ms:,.0f} ms"
        )


def _clocks(harness: Harness) -> Iterator[str]:
    """Did the gateway, the wall clock and the machine run on?"""
    if behind := [name for name, gateway in harness.gateway.items() if not gateway.kept_up]:
        yield f"the simulated gateway fell behind its own plan in {', '.join(behind)}"
    step = abs(float(harness.clock_step_ms))
    if step > CLOCK_STEP_MS:
        yield f"the wall clock stepped by {step:,.0f} ms during the run"
    if (slept := float(harness.suspended_ms)) > CLOCK_STEP_MS:
        # the monotonic clock stood still meanwhile: answers that came in that time look quick
        yield f"the machine slept for {slept:,.0f} ms during the run, which no latency counts"


def _counts(samples: Table) -> dict[str, int | float]:
    ours, due = could_not_send(samples)
    bounded = _flagged(samples, Flag.TTFT_UPPER_BOUND)
    streamed = _flagged(samples, Flag.STREAMED)
    return {
        "due": due,
        "never_sent": int((samples["outcome"] == Outcome.never_sent).sum()),
        "could_not_send": ours,
        "censored": int((samples["outcome"] == Outcome.censored).sum()),
        "first_token_shared_read": bounded,
        "first_token_shared_read_share": round(bounded / max(streamed, 1), 6),
        "user_stamps": _flagged(samples, Flag.USER_STAMP),
        "held_up": _flagged(samples, Flag.HELD_UP),
    }


def _flagged(samples: Table, flag: Flag) -> int:
    return int(((samples["flags"] & flag) != 0).sum())


def could_not_send(samples: Table) -> tuple[int, int]:
    """(rows that failed here, rows that were due)."""
    # Without a slot a row waited for the server; with one it failed here, for want of ports or
    # descriptors.
    ours = (samples["outcome"] == Outcome.never_sent) & (samples["slot_free_ns"] >= 0)
    return int(ours.sum()), int((samples["due_ns"] >= 0).sum())


def too_few_sent(ours: int, due: int) -> bool:
    """Whether the load was not the one that was asked for."""
    return ours / max(due, 1) > 1 - SENT_SHARE_INVALID


def conduct_of(
    columns: Columns,
    node: Node,
    shortest_phase_ns: int,
    tightest_limit_ns: int | None,
    *,
    interrupted: bool = False,
) -> Conduct:
    """Hold one node's own conduct, `columns` being its rows, against the budgets of a whole run.

    How long its answers took is the network's and the server's doing, and never looked at here.
    """
    lag = latency_ns(columns.samples, "harness_lag")
    lag = lag[lag >= 0]
    degraded: list[str] = []
    invalid: list[str] = []
    p99 = _p99(lag)
    worst = int(lag.max()) if len(lag) else 0
    client_limited = _lag_budget(
        f"{node.name} itself sent late",
        p99,
        worst,
        tightest_limit_ns,
        degraded,
        invalid,
    )
    ours, due = could_not_send(columns.samples)
    if ours and not interrupted:
        (invalid if too_few_sent(ours, due) else degraded).append(
            f"{node.name} could not send {ours:,} of its {due:,} due requests"
        )
    clock = node.clock
    skew_ns = node.start_skew_ns or 0
    off = [(abs(skew_ns), f"began {{}} {'early' if skew_ns < 0 else 'late'}")]
    if clock is not None:
        off += [
            (round(clock.bound_ms * MS), "has a clock known only to ± {}"),
            (round(abs(clock.drift_ms) * MS), "has a clock that drifted by {} during the run"),
        ]
    for by_ns, what in off:
        if by_ns > START_SKEW_MS * MS:
            share = by_ns / max(shortest_phase_ns, 1)
            text = (
                f"{node.name} {what.format(show_duration(by_ns))}, {show_share(share, 2)} of the"
                " shortest phase"
            )
            (invalid if share > 1 - SENT_SHARE_INVALID else degraded).append(text)
    facts = {
        "region": node.region,
        "due": due,
        "could_not_send": ours,
        "harness_lag_p99_ms": round(p99 / MS, 4),
        "harness_lag_max_ms": round(worst / MS, 4),
        "start_skew_ms": round(skew_ns / MS, 3),
        "clock": dataclasses.asdict(clock) if clock else None,
    }
    return Conduct(node.name, degraded, invalid, facts, client_limited)


def _shards(shards: HarnessShards, degraded: list[str], invalid: list[str]) -> None:
    """Of a run that was merged: did all its parts play, and together?"""
    invalid += [
        f"shard {number} of {shards.of} was not given: the load was not the one asked for"
        for number in shards.missing
    ]
    invalid += [
        f"shard {number} of {shards.of} ended before its plan while others went on"
        for number in shards.ended_early
    ]
    skew_ms = shards.start_skew_ms
    share = shards.start_skew_share
    if skew_ms > START_SKEW_MS:
        text = (
            f"the shards began up to {show_duration(skew_ms * MS)} apart, {show_share(share, 1)} of"
            " the shortest phase"
        )
        (invalid if share > 1 - SENT_SHARE_INVALID else degraded).append(text)


def _p99(values: Int) -> int:
    if not len(values):
        return 0
    rank = nearest_rank(len(values), P99)
    return int(np.partition(values, rank - 1)[rank - 1])


def _budget(limit_ns: int | None) -> tuple[int, int]:
    """Lateness (ns) above which we are degraded, and invalid."""
    if limit_ns is None:
        return DEGRADED_LAG_NS, INVALID_LAG_NS
    return int(limit_ns * DEGRADED_SHARE), int(limit_ns * INVALID_SHARE)


def _lag_budget(
    said: str,
    p99: int,
    worst: int,
    limit_ns: int | None,
    degraded: list[str],
    invalid: list[str],
) -> bool:
    fair, bad = _budget(limit_ns)
    if limit_ns is None:
        against = "without a limit the budget is " + show_duration(fair)
    else:
        against = f"{show_share(DEGRADED_SHARE)} of the tightest limit is {show_duration(fair)}"
    text = f"{said}: p99 {show_duration(p99)}, worst {show_duration(worst)} ({against})"
    if p99 > bad:
        invalid.append(text)
    elif p99 > fair:
        degraded.append(text)
    # Few rows far over the budget leave p99 alone and can still fill the tail that is judged.
    return p99 > fair or worst > max(fair, DEGRADED_LAG_NS)
