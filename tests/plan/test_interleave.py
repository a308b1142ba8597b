"""Arms of a comparison: one arrival process shared among them, paired prompts, and what the
manifest keeps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from bench.plan.interleave import Compare
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import load_suite
from tests.support.planned import STEADY, S, due_s, lane_rows, profile, stage, suite, target

POISSON: dict[str, Any] = {"arrivals": {"kind": "poisson", "rate": "20/s"}, "duration": "100s"}
MIX = [{"lognormal": {"mu": 5, "sigma": 1}}]


def compared(
    keys: dict[str, Any], seed: int = 1, names: tuple[str, ...] = ("a", "b"), **table: Any
) -> Plan:
    """Targets `names` of one stage compared with each other."""
    asked = Compare.model_validate({"arms": list(names), **table})
    used = stage(profile(**keys), *(target(name) for name in names)).model_copy(
        update={"compare": [asked]}
    )
    return compile_plan(suite(used), seed)


def test_random_arms_share_one_process_of_their_summed_rate() -> None:
    """The arms' due times together are the single-lane process at twice the rate; each is again
    Poisson at its own.
    """
    plan = compared(POISSON)
    together = np.sort(np.concatenate([lane_rows(plan, lane)["due_ns"] for lane in (0, 1)]))
    doubled = {**POISSON, "arrivals": {"kind": "poisson", "rate": "40/s"}}
    alone = compile_plan(suite(stage(profile(**doubled), target("a"))), 1).schedule["due_ns"]
    assert together.tolist() == alone.tolist()
    for lane in (0, 1):
        gaps = np.diff(due_s(lane_rows(plan, lane)))
        assert stats.kstest(gaps, "expon", args=(0, 1 / 20)).pvalue > 0.01


def test_random_order_follows_no_pattern_and_the_seed() -> None:
    """Runs of one arm are as many as fair coins make; another seed gives another order."""
    first, second = (compared(POISSON, seed).schedule["lane"] for seed in (1, 2))
    n, changes = len(first), int(np.count_nonzero(np.diff(first.astype(int))))
    assert abs(changes - (n - 1) / 2) < 4 * np.sqrt(n) / 2
    assert abs(int(first.sum()) - n / 2) < 4 * np.sqrt(n) / 2
    assert first[:200].tolist() != second[:200].tolist()
    assert first.tolist() == compared(POISSON, 1).schedule["lane"].tolist()


def test_abba_blocks_go_there_and_back() -> None:
    """At 10/s for 12 s in blocks of 1 s the seconds belong to a b b a a b b a a b b a, at the full
    rate each.
    """
    plan = compared({**STEADY, "duration": "12s"}, order="abba", block="1s")
    second = plan.schedule["due_ns"] // S
    owners = ["ab"[int(plan.schedule["lane"][second == number][0])] for number in range(12)]
    assert "".join(owners) == "abbaabbaabba"
    assert [np.unique(plan.schedule["lane"][second == number]).size for number in range(12)] == [
        1
    ] * 12
    assert np.bincount(second).tolist() == [10] * 12


def test_abba_units_begin_with_the_measured_part() -> None:
    """A warm-up of 1.5 s shifts the blocks: the first measured block is the baseline's and lasts a
    whole second.
    """
    plan = compared({**STEADY, "duration": "4s", "warmup": "1500ms"}, order="abba", block="1s")
    measured = plan.schedule[~plan.schedule["warmup"]]
    place = (measured["due_ns"] - 3 * S // 2) // S
    assert [sorted(set(measured["lane"][place == number].tolist())) for number in range(4)] == [
        [0],
        [1],
        [1],
        [0],
    ]


def test_prompts_are_paired() -> None:
    """The n-th prompts and answers of all arms are equally long, their words differ."""
    plan = compared({**POISSON, "prompt_tokens": MIX, "output_tokens": MIX}, names=("a", "b", "c"))
    arms = [lane_rows(plan, lane) for lane in range(3)]
    shortest = min(map(len, arms))
    for column in ("prompt_tokens", "output_tokens", "bucket"):
        assert len({arm[column][:shortest].tobytes() for arm in arms}) == 1
    assert len(set(np.concatenate([arm["body"] for arm in arms]).tolist())) == len(plan.schedule)


def test_a_request_count_is_of_each_arm() -> None:
    """1,000 requests an arm: 2,000 in all, and all arms end at the same instant."""
    plan = compared({"arrivals": {"kind": "poisson", "rate": "50/s"}, "requests": 1000})
    assert len(plan.schedule) == 2000
    assert plan.lanes[0].end_ns == plan.lanes[1].end_ns == plan.schedule["due_ns"].max() + 1
    assert abs(plan.lanes[0].requests - 1000) < 4 * np.sqrt(500)


def test_sessions_stay_with_their_arm() -> None:
    """The later turns of a session belong to the arm of its first, and turn for turn the arms'
    sizes are equal.
    """
    keys = {
        **POISSON,
        "sessions": {"turns": {"quantiles": {"0": 1, "100": 5}}, "think": "1s"},
        "prompt_tokens": MIX,
    }
    plan = compared(keys)
    waiting = plan.schedule["after_row"] >= 0
    assert np.array_equal(
        plan.schedule["lane"][waiting], plan.schedule["lane"][plan.schedule["after_row"][waiting]]
    )
    first, second = lane_rows(plan, 0), lane_rows(plan, 1)
    common = min(len(first), len(second)) - 10
    assert np.array_equal(first["prompt_tokens"][:common], second["prompt_tokens"][:common])


def test_a_trace_is_shared_out(tmp_path: Path) -> None:
    """Every request of a trace goes to exactly one arm, at its own time and size."""
    lines = [
        "timestamp,input_length,output_length",
        *(f"{i / 10},{100 + i},{i + 1}" for i in range(300)),
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    trace = {
        "file": str(tmp_path / "t.csv"),
        "format": "columns",
        "time_column": "timestamp",
        "prompt_column": "input_length",
        "output_column": "output_length",
    }
    plan = compared({"arrivals": {"kind": "trace", "trace": trace}})
    assert np.sort(plan.schedule["prompt_tokens"]).tolist() == [100 + i for i in range(300)]
    assert 0 < plan.lanes[0].requests < 300
    assert plan.lanes[0].end_ns == plan.lanes[1].end_ns


def test_other_targets_of_the_stage_keep_their_schedule() -> None:
    """A target that is no arm has the arrivals it would have without the comparison."""
    asked = Compare(arms=["a", "b"])
    plain = stage(profile(**POISSON), target("a"), target("b"), target("c"))
    with_arms = compile_plan(suite(plain.model_copy(update={"compare": [asked]})))
    without = compile_plan(suite(plain))
    assert lane_rows(with_arms, 2)["due_ns"].tolist() == lane_rows(without, 2)["due_ns"].tolist()


# ---- as a suite writes it

PROFILE = 'description = "d"\nduration = "5s"\n[arrivals]\nkind = "poisson"\nrate = "40/s"\n'
TARGET = 'description = "d"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
SUITE = (
    'description = "d"\n[[stage]]\nname = "one"\ntargets = ["a.toml", "b.toml"]\nprofile ='
    ' "p.toml"\n'
)


def load(folder: Path, tables: str, load_profile: str = PROFILE) -> Plan:
    for name, text in (("p", load_profile), ("a", TARGET), ("b", TARGET), ("s", SUITE + tables)):
        (folder / f"{name}.toml").write_text(text)
    return compile_plan(load_suite(str(folder / "s.toml")))


def test_a_target_named_twice_gets_a_second_lane(tmp_path: Path) -> None:
    """An A/A check is one more lane of the same target, `a#2`; the baseline's record keeps the
    whole table.
    """
    plan = load(
        tmp_path,
        '[[stage.compare]]\narms = ["a", "a", "b"]\norder = "abba"\nblock = "500ms"\nmargin ='
        ' "5%"\nexpect = [{ outcome = "BETTER" }, { arm = "a#2", outcome = "EQUIVALENT" }]\n',
    )
    assert [lane.name for lane in plan.lanes] == ["a", "b", "a#2"]
    kept = json.loads(json.dumps(plan.lanes[0].record()))["compare"]
    assert [lane.record()["compare"] for lane in plan.lanes[1:]] == [[], []]
    table = Compare.model_validate(kept[0])
    assert (table.arms, table.order, table.block, float(table.margin)) == (
        ["a", "a#2", "b"],
        "abba",
        S // 2,
        0.05,
    )
    assert [(each.arm, each.outcome) for each in table.expect] == [
        ("b", "BETTER"),
        ("a#2", "EQUIVALENT"),
    ]
    order = plan.schedule["lane"][np.unique(plan.schedule["due_ns"] * 2 // S, return_index=True)[1]]
    assert order[:6].tolist() == [0, 2, 1, 1, 2, 0]
    assert "3 arms share one arrival process" in plan.lanes[2].notes[-1]


@pytest.mark.parametrize(
    ("tables", "part"),
    [
        (
            'arms = ["a", "c"]',
            "compare names 'c', which is no target of this stage; its targets: a, b",
        ),
        ('arms = ["a"]', "stage[0].compare[0].arms"),
        ('arms = ["a", "b"]\norder = "abab"', "write 'random' or 'abba'"),
        ('arms = ["a", "b"]\nblock = "5s"', 'block belongs to order = "abba"'),
        ('arms = ["a", "b"]\nmargin = "100%"', "margin must lie between"),
        (
            'arms = ["a", "b"]\n[[stage.compare]]\narms = ["b", "a"]',
            "'b' is an arm of two comparisons",
        ),
        (
            'arms = ["a", "b"]\nexpect = [{ arm = "a", outcome = "BETTER" }]',
            "no arm beside the baseline; its arms: b",
        ),
        (
            'arms = ["a", "b"]\nexpect = [{ phase = "x", bucket = ">32K", outcome = "BETTER" }]',
            "a phase or a bucket, not both",
        ),
    ],
)
def test_a_table_that_cannot_be_played_is_refused(tables: str, part: str, tmp_path: Path) -> None:
    """One sentence that names the stage or the key, before anything is sent."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, f"[[stage.compare]]\n{tables}\n")
    assert part in str(caught.value)


def test_a_closed_loop_has_no_arrivals_to_share(tmp_path: Path) -> None:
    """Arms under a closed loop are refused."""
    closed = PROFILE[: PROFILE.index("[arr")] + '[arrivals]\nkind = "closed"\nconcurrency = 4\n'
    with pytest.raises(UserError, match="closed loop has no arrivals to share"):
        load(tmp_path, '[[stage.compare]]\narms = ["a", "b"]\n', closed)
