"""The table: sessions, closed loops, traces, lanes and stages, and what the manifest keeps
of them.
"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.errors import UserError
from bench.plan.contract import Contract
from bench.plan.schedule import SCHEDULE_DTYPE, Table, compile_plan
from tests.support.planned import STEADY, S, lane_rows, plan, profile, rows, stage, suite, target

LEVEL = 0.01
POISSON: dict[str, Any] = {"arrivals": {"kind": "poisson", "rate": "20/s"}, "duration": "20s"}
TABLE: dict[str, Any] = {
    "quantiles": {"0": 0, "50": 200, "90": 1000, "100": 100_000},
    "max": 1_000_000,
}
CHAT: dict[str, Any] = {
    **POISSON,
    "sessions": {"turns": {"quantiles": {"0": 1, "100": 6}}, "think": "2s"},
    "prompt_tokens": [TABLE],
    "output_tokens": [TABLE],
}


def sessions_of(table: Table) -> list[Table]:
    """The rows of each session of one lane, cut where the session's number changes in the table."""
    keys = table["lane"].astype(np.int64) << 32 | table["session"]
    return np.split(table, np.nonzero(np.diff(keys))[0] + 1)


# ---- sessions


def test_a_session_stands_together_and_waits_turn_by_turn() -> None:
    """Each session is one unbroken block; turn 0 has a due time, every later turn waits for the row
    before it.
    """
    table = compile_plan(suite(stage(profile(**CHAT), target("a"), target("b")))).schedule
    blocks = sessions_of(table)
    assert len(blocks) == len({(row["lane"], row["session"]) for row in table})
    start = 0
    for block in blocks:
        assert block["turn"].tolist() == list(range(len(block)))
        assert block["due_ns"][0] >= 0
        assert np.all(block["due_ns"][1:] == -1)
        assert block["after_row"].tolist() == [-1, *range(start, start + len(block) - 1)]
        assert block["think_ns"].tolist() == [0, *[2 * S] * (len(block) - 1)]
        assert len(set(block["body"])) == 1
        start += len(block)


def test_context_grows_by_what_was_said() -> None:
    """Prompts of 10 and answers of 5 over 4 turns: 10, 25, 40 and 55 prompt tokens."""
    table = rows(
        **STEADY,
        sessions={"turns": {"fixed": 4}},
        prompt_tokens=[{"fixed": 10}],
        output_tokens=[{"fixed": 5}],
    )
    assert [block["prompt_tokens"].tolist() for block in sessions_of(table)] == [
        [10, 25, 40, 55]
    ] * 100


def test_the_user_texts_inside_a_session_follow_the_profile() -> None:
    """What a turn adds beyond the turn before and its answer is a prompt of the profile's law (KS),
    in every turn.
    """
    table = rows(2, **{**CHAT, "duration": "200s"})
    user, turn = [], []
    for block in sessions_of(table):
        context, answers = block["prompt_tokens"].astype(int), block["output_tokens"].astype(int)
        user += [context[0], *(context[1:] - context[:-1] - answers[:-1])]
        turn += block["turn"].tolist()
    points, tokens = [0, 0.5, 0.9, 1.0], [0, 200, 1000, 100_000]
    said = np.array(user)
    for chosen in (said[np.array(turn) == 0], said[np.array(turn) > 0]):
        assert stats.kstest(chosen, lambda v: np.interp(v, tokens, points)).pvalue > LEVEL


def test_think_times_can_be_exponential() -> None:
    """`think_law = "exponential"` draws thinking times with the stated mean (KS)."""
    sessions = {"turns": {"fixed": 6}, "think": "2s", "think_law": "exponential"}
    table = rows(3, **POISSON, sessions=sessions)
    think = table["think_ns"][table["turn"] > 0] / S
    assert stats.kstest(think, "expon", args=(0, 2.0)).pvalue > LEVEL


def test_a_request_count_counts_turns() -> None:
    """`requests = 250` with sessions plans 250 requests, the last session cut short if need be."""
    compiled = plan(4, **{**CHAT, "duration": None}, requests=250)
    assert len(compiled.schedule) == 250
    assert compiled.end_ns == compiled.schedule["due_ns"].max() + 1
    warm = rows(4, **{**CHAT, "duration": None}, requests=250, warmup="5s")
    assert np.count_nonzero(~warm["warmup"]) == 250
    assert all(len(set(block["warmup"])) == 1 for block in sessions_of(warm))


# ---- the other two kinds


@given(users=st.integers(1, 40), requests=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_closed_loop_is_a_chain_for_each_user(users: int, requests: int) -> None:
    """`requests` rows dealt evenly to the users: each user's first row is due at once, each next
    waits for the one before.
    """
    compiled = plan(arrivals={"kind": "closed", "concurrency": users}, requests=requests)
    blocks = sessions_of(compiled.schedule)
    assert sum(len(block) for block in blocks) == requests
    assert len(blocks) == min(users, requests)
    assert max(len(block) for block in blocks) - min(len(block) for block in blocks) <= 1
    start = 0
    for block in blocks:
        assert block["due_ns"].tolist() == [0, *[-1] * (len(block) - 1)]
        assert block["after_row"].tolist() == [-1, *range(start, start + len(block) - 1)]
        start += len(block)
    assert len(set(compiled.schedule["body"])) == requests
    assert compiled.lanes[0].profile.closed_loop


@pytest.mark.parametrize(
    ("bounds", "by_duration"),
    [
        ({"duration": "2s"}, True),
        ({"requests": 50}, False),
        ({"duration": "2s", "requests": 50}, True),
    ],
)
def test_a_closed_loop_says_what_bounds_it(bounds: dict[str, Any], by_duration: bool) -> None:
    """The manifest marks a loop that time ends: rows beyond it were never due; with both bounds
    time may end it first.
    """
    lane = plan(arrivals={"kind": "closed", "concurrency": 3}, **bounds).lanes[0]
    assert lane.record()["closed_by_duration"] is by_duration
    assert lane.record()["closed_loop"] is True
    assert lane.end_ns == (2 * S if by_duration else 0)
    assert "not valid for an SLA verdict" in lane.notes[0]


def test_a_closed_loop_by_count_must_be_last() -> None:
    """No stage can follow a loop whose end nobody knows; with a duration one can."""
    after = stage(profile(**STEADY), name="after")
    by_count = profile(arrivals={"kind": "closed", "concurrency": 2}, requests=10)
    with pytest.raises(UserError, match=r"stage 'loop'.*put it last"):
        compile_plan(suite(stage(by_count, name="loop"), after))
    assert len(compile_plan(suite(after, stage(by_count, name="loop"))).lanes) == 2
    by_time = profile(arrivals={"kind": "closed", "concurrency": 2}, requests=10, duration="5s")
    assert compile_plan(suite(stage(by_time, name="loop"), after)).lanes[1].start_ns == 5 * S


@pytest.fixture
def trace(tmp_path: Path) -> dict[str, Any]:
    """A trace of 5 rows at 0, 1, 2, 3 and 4 s."""
    path = tmp_path / "log.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        + "".join(f"2024-01-01 00:00:0{i}.0,{1000 * (i + 1)},{i + 1}\n" for i in range(5))
    )
    return {"kind": "trace", "trace": {"file": str(path), "format": "azure"}}


def test_a_trace_is_replayed_row_by_row(trace: dict[str, Any]) -> None:
    """Due times, sizes and buckets are the log's; the plan ends with its last row."""
    compiled = plan(arrivals=trace)
    table = compiled.schedule
    assert table["due_ns"].tolist() == [0, S, 2 * S, 3 * S, 4 * S]
    assert table["prompt_tokens"].tolist() == [1000, 2000, 3000, 4000, 5000]
    assert table["output_tokens"].tolist() == [1, 2, 3, 4, 5]
    assert table["bucket"].tolist() == [0, 1, 1, 1, 1]
    assert compiled.end_ns == 4 * S + 1
    assert compiled.lanes[0].notes


@pytest.mark.parametrize(
    ("bounds", "count", "end_ns"),
    [
        ({"duration": "2500ms"}, 3, 2_500_000_000),
        ({"requests": 2}, 2, S + 1),
        ({"duration": "1h"}, 5, 4 * S + 1),
        ({"duration": "2500ms", "requests": 2}, 2, S + 1),
    ],
)
def test_a_trace_can_be_cut(
    trace: dict[str, Any], bounds: dict[str, Any], count: int, end_ns: int
) -> None:
    """Duration and count cut a replay; a duration beyond the log does not stretch the plan."""
    compiled = plan(arrivals=trace, **bounds)
    assert (len(compiled.schedule), compiled.end_ns) == (count, end_ns)


# ---- lanes and stages


def test_stages_follow_each_other_with_their_pause() -> None:
    """Stage two begins where stage one's arrivals end plus its settling time; warm-ups and spans
    move with it.
    """
    first = stage(
        profile(arrivals={"kind": "constant", "rate": "10/s"}, duration="3s"),
        name="one",
        settle_ns=2 * S,
    )
    second = stage(
        profile(arrivals={"kind": "constant", "rate": "5/s"}, duration="2s", warmup="1s"),
        name="two",
    )
    compiled = compile_plan(suite(first, second))
    assert [(lane.start_ns, lane.end_ns) for lane in compiled.lanes] == [(0, 3 * S), (5 * S, 8 * S)]
    assert [(span.phase, span.start_ns, span.end_ns) for span in compiled.lanes[1].spans] == [
        ("warmup", 5 * S, 6 * S),
        ("steady", 6 * S, 8 * S),
    ]
    assert lane_rows(compiled, 0)["due_ns"].tolist() == [k * S // 10 for k in range(30)]
    assert lane_rows(compiled, 1)["due_ns"].tolist() == [5 * S + k * S // 5 for k in range(15)]
    assert [lane.requests for lane in compiled.lanes] == [30, 15]


@pytest.mark.parametrize("keys", [POISSON, CHAT])
def test_lanes_of_a_stage_hold_equal_sizes_and_other_words(keys: dict[str, Any]) -> None:
    """Row by row two lanes plan the same sizes, though they have different numbers of rows and
    never the same body.
    """
    mix = [{"weight": 3, **TABLE}, {"lognormal": {"mu": 5, "sigma": 1}}]
    compiled = compile_plan(
        suite(stage(profile(**{**keys, "prompt_tokens": mix}), target("a"), target("b"))), 5
    )
    first, second = lane_rows(compiled, 0), lane_rows(compiled, 1)
    common = min(len(first), len(second)) - 10
    assert len(first) != len(second)
    for column in ("prompt_tokens", "output_tokens", "turn", "think_ns", "bucket"):
        assert np.array_equal(first[column][:common], second[column][:common])
    assert set(first["body"]).isdisjoint(second["body"])
    assert not np.array_equal(first["due_ns"][:common], second["due_ns"][:common])


def test_stages_do_not_repeat_each_other() -> None:
    """Two stages under one profile have sizes, arrivals and bodies of their own."""
    same = profile(**{**POISSON, "prompt_tokens": [TABLE]})
    compiled = compile_plan(suite(stage(same, name="one"), stage(same, name="two")))
    first, second = lane_rows(compiled, 0), lane_rows(compiled, 1)
    assert not np.array_equal(first["prompt_tokens"][:50], second["prompt_tokens"][:50])
    assert set(first["body"]).isdisjoint(second["body"])


@pytest.mark.parametrize(
    "keys", [POISSON, CHAT, {"arrivals": {"kind": "closed", "concurrency": 7}, "duration": "100ms"}]
)
def test_the_whole_table_is_sorted_by_first_due(keys: dict[str, Any]) -> None:
    """Over all lanes the sessions stand in the order in which they begin, each unbroken and with
    its own predecessor.
    """
    compiled = compile_plan(
        suite(stage(profile(**keys), target("a"), target("b")), stage(profile(**CHAT), name="next"))
    )
    table = compiled.schedule
    heads = table["after_row"] < 0
    assert np.all(np.diff(table["due_ns"][heads]) >= 0)
    waiting = np.nonzero(~heads)[0]
    before = table["after_row"][waiting]
    assert np.array_equal(before, waiting - 1)
    for column in ("lane", "session"):
        assert np.array_equal(table[column][before], table[column][waiting])
    assert np.array_equal(table["turn"][before] + 1, table["turn"][waiting])
    assert sum(lane.requests for lane in compiled.lanes) == len(table)


def test_lane_names_are_short_where_that_is_unique() -> None:
    """A target's name alone where it occurs once, with its profile where that tells, else with its
    stage.
    """
    one, two = profile(**STEADY), profile(**{**STEADY, "name": "other"})
    assert [
        lane.name for lane in compile_plan(suite(stage(one, target("a"), target("b")))).lanes
    ] == ["a", "b"]
    by_profile = suite(
        stage(one, target("a"), target("b"), name="s1"), stage(two, target("a"), name="s2")
    )
    assert [lane.name for lane in compile_plan(by_profile).lanes] == ["a/made", "b", "a/other"]
    by_stage = suite(stage(one, target("a"), name="s1"), stage(one, target("a"), name="s2"))
    assert [lane.name for lane in compile_plan(by_stage).lanes] == ["a/s1", "a/s2"]


def test_a_scenario_names_its_lane() -> None:
    """Under two scenarios a target is `target/scenario`, whatever folder the scenario came from."""
    stages = [
        stage(profile(**STEADY), name=name).model_copy(update={"scenario": path})
        for name, path in (("s1", "calm"), ("s2", "/somewhere/storm.toml"))
    ]
    assert [lane.name for lane in compile_plan(suite(*stages)).lanes] == ["t/calm", "t/storm"]


def test_shared_prefixes_are_grouped_and_counted() -> None:
    """Each session begins with one of `groups` prefixes whose tokens come on top of its prompts;
    lanes share none.
    """
    keys = {**CHAT, "shared_prefix": {"tokens": 700, "groups": 3}}
    with_prefix = compile_plan(suite(stage(profile(**keys), target("a"), target("b"))))
    without = compile_plan(suite(stage(profile(**CHAT), target("a"), target("b"))))
    assert np.all(with_prefix.schedule["prompt_tokens"] == without.schedule["prompt_tokens"] + 700)
    assert np.all(without.schedule["prefix_group"] == -1)
    groups = [set(lane_rows(with_prefix, lane)["prefix_group"].tolist()) for lane in (0, 1)]
    assert groups == [{0, 1, 2}, {3, 4, 5}]
    assert all(len(set(block["prefix_group"])) == 1 for block in sessions_of(with_prefix.schedule))


# ---- what cannot be judged


def clause(**keys: Any) -> Contract:
    return Contract.model_validate(
        {
            "title": "made",
            "name": "made",
            "clause": [{"metric": "e2e", "quantile": "99%", "limit": "1s", **keys}],
        }
    )


@pytest.mark.parametrize(
    ("keys", "used", "asked", "part"),
    [
        ({"metric": "ttft"}, STEADY, {"stream": False}, "without streaming"),
        ({"metric": "tpot"}, {**STEADY, "output_tokens": [{"fixed": 1}]}, {}, "second token"),
        ({"phase": "burst"}, STEADY, {}, "its phases: steady"),
        ({"phase": "warmup"}, {**STEADY, "warmup": "2s"}, {}, "no judged phase 'warmup'"),
        ({"bucket": ">32K"}, STEADY, {}, "context bucket"),
    ],
)
def test_a_clause_that_no_row_can_meet_is_refused(
    keys: dict[str, Any], used: dict[str, Any], asked: dict[str, Any], part: str
) -> None:
    """A judged clause on a metric, phase or bucket that the lane cannot have ends before anything
    is sent.
    """
    with pytest.raises(UserError) as caught:
        compile_plan(suite(stage(profile(**used), target(**asked), contract=clause(**keys))))
    assert part in str(caught.value)
    assert str(caught.value).startswith("contract made: clause 1 (")
    compile_plan(
        suite(stage(profile(**used), target(**asked), contract=clause(**keys, report_only=True)))
    )


def test_a_clause_on_what_the_run_has_is_accepted() -> None:
    """Phase and bucket of the profile, and tokens of a stream, can be judged."""
    used = profile(
        **STEADY, phases=[{"name": "burst", "duration": "1s"}], prompt_tokens=[{"fixed": 2000}]
    )
    compile_plan(suite(stage(used, contract=clause(metric="tpot", phase="burst", bucket="1K-8K"))))
    compile_plan(suite(stage(used, target(stream=False), contract=clause())))


# ---- the manifest, the memory


def test_the_manifest_keeps_no_header() -> None:
    """A lane's record is JSON and holds neither a header nor the name of its value's variable."""
    lane = compile_plan(
        suite(
            stage(
                profile(**CHAT),
                target(headers={"X-Team": "hunter2-${TEAM_KEY}"}),
                contract=clause(),
            )
        )
    ).lanes[0]
    text = json.dumps(lane.record())
    assert "hunter2" not in text
    assert "X-Team" not in text
    assert lane.record()["profile"]["arrivals"]["rate"] == "20/s"


def test_compiling_takes_little_memory_a_row() -> None:
    """The peak while compiling 200,000 rows stays below 400 bytes a row, of which the table itself
    is 52.
    """
    tracemalloc.start()
    try:
        table = rows(
            arrivals={"kind": "poisson", "rate": "1000/s"},
            duration="200s",
            prompt_tokens=[TABLE],
            output_tokens=[TABLE],
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert SCHEDULE_DTYPE.itemsize == 52
    assert peak / len(table) < 400
