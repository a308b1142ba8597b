"""A run sent from several nodes: what each saw, which was unfit by its own conduct, and a verdict
without it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.judge.attribution.attribute import attribute_lane
from bench.judge.census.source import log_of_run
from bench.judge.compare.arms import arm_of
from bench.judge.contract.exclusions import classify
from bench.judge.fitness import conducts, fitness
from bench.judge.left_out import decide, facts_of, leave_out, refuse_unknown, without
from bench.judge.review import file_records
from bench.judge.verify import verify
from bench.plan.terms import Exclusion
from bench.record.facts import places_of
from bench.record.records.manifest import LaneRecord, LeftOut
from bench.record.run_folder import Run, read_manifest
from bench.record.samples import Outcome, latency_ns
from bench.units import MS, S
from tests.support.planted_tail import ROWS, quiet, slow_down, strings
from tests.support.records import manifest_of, review_json
from tests.support.rows_by_hand import (
    Row,
    answered,
    at_most,
    contract_of,
    evenly,
    failed,
    lane_of,
    run_of,
    uptime,
)

AGREED_NS = 1_800_000_000 * S
NODES = ("node-1", "node-2", "node-3")


def shards(*nodes: str, regions: dict[str, str] | None = None, **more: Row) -> list[Row]:
    """One shard a node, all on time; `more` changes that of a node (`node_2={...}`)."""
    return [
        {
            "number": number,
            "of": len(nodes),
            "workers": [number - 1, 1],
            "start": {"agreed_wall_ns": AGREED_NS, "wall_ns": AGREED_NS},
            "place": {"node": node, "region": (regions or {}).get(node)},
            **more.get(node.replace("-", "_"), {}),
        }
        for number, node in enumerate(nodes, 1)
    ]


def sent_from(
    folder: Path, rows: list[Row], *lanes: LaneRecord, of: list[Row] | None = None, **harness: Any
) -> Run:
    """The run of these rows, the i-th being session i: of three nodes, each third row is one's."""
    for session, row in enumerate(rows):
        row["session"] = session
    facts = {
        "workers": 3,
        "by_worker": [{}, {}, {}],
        "shards": {"of": 3, "missing": [], "ended_early": [], "start_skew_ms": 0.0},
    }
    return run_of(
        folder,
        rows,
        *(lanes or [lane_of()]),
        shards=of or shards(*NODES),
        started_wall_ns=AGREED_NS,
        harness=facts | harness,
    )


def clock(bound: float = 1.0, drift: float = 0.0) -> Row:
    """A node's clock."""
    return {"clock": {"offset_ms": 5.0, "bound_ms": bound, "drift_ms": drift, "round_trips": 8}}


def one_each(
    number: int,
    *,
    lag: tuple[int, int, int] = (0, 0, 0),
    e2e: tuple[int, int, int] = (100, 100, 100),
) -> list[Row]:
    """`number` rows, 10 ms apart, the i-th from node i % 3."""
    rows = [answered(e2e[i % 3] + lag[i % 3], lag=lag[i % 3]) for i in range(number)]
    for place, row in enumerate(rows):
        for name in (
            "due",
            "slot_free",
            "sent",
            "first_token",
            "first_answer_token",
            "last_token",
            "done",
        ):
            row[name] += 10 * place
    return rows


def test_percentiles_by_node_are_those_of_its_rows(tmp_path: Path) -> None:
    """Response, service, connect and own lag of each node, by numpy on the rows picked here by
    hand; warm-up is left out.
    """
    rng = np.random.default_rng(5)
    rows = evenly(
        [
            answered(20 + int(ms), ttft=12, lag=i % 4, connect=3 + i % 5, warmup=i < 30)
            for i, ms in enumerate(rng.exponential(200, 900))
        ]
    )
    rows[77] = failed(Outcome.http_5xx, due=rows[77]["due"])
    regions = dict(zip(NODES, ("eu", "us", "eu"), strict=True))
    run = sent_from(tmp_path / "r", rows, of=shards(*NODES, regions=regions))
    target = review_json(run)[0]["targets"]["t"]
    samples = run.columns.samples
    counted = ~run.columns.schedule["warmup"]
    mine = np.arange(900) % 3

    def p(values: Any, q: float) -> float:
        return float(np.percentile(values, q, method="inverted_cdf")) / MS

    for name, chosen in [
        ("node-1", mine == 0),
        ("node-2", mine == 1),
        ("node-3", mine == 2),
        ("eu", mine != 1),
        ("us", mine == 1),
    ]:
        found = target["by_node" if name in NODES else "by_region"][name]
        ours = samples[chosen & counted]
        good = ours[ours["outcome"] == Outcome.ok]
        assert (found["requests"], found["ok"]) == (len(ours), len(good))
        for view, start in (("response_ms", "due_ns"), ("service_ms", "sent_ns")):
            for metric, end in (("ttft", "first_token_ns"), ("e2e", "last_token_ns")):
                for key, q in (("p50", 50), ("p99", 99), ("p999", 99.9)):
                    assert found[view][metric][key] == p(good[end] - good[start], q), (
                        name,
                        view,
                        metric,
                        key,
                    )
        opened = ours["connect_ns"][ours["connect_ns"] >= 0]
        assert (found["connect_ms"]["n"], found["connect_ms"]["p50"]) == (
            len(opened),
            p(opened, 50),
        )
        assert found["harness_lag_ms"]["p99"] == p(ours["sent_ns"] - ours["due_ns"], 99)
    assert sum(found["requests"] for found in target["by_node"].values()) == counted.sum()


def test_a_run_without_places_has_no_parts_by_place(tmp_path: Path) -> None:
    """Nor has one of one region a table of regions."""
    plain = review_json(
        run_of(tmp_path / "r", evenly([answered(50) for _ in range(30)]), lane_of())
    )[0]["targets"]["t"]
    assert not {"by_node", "by_region"} & plain.keys()
    one = dict.fromkeys(NODES, "eu")
    found = review_json(sent_from(tmp_path / "s", one_each(30), of=shards(*NODES, regions=one)))[0][
        "targets"
    ]["t"]
    assert ("by_node" in found, "by_region" in found) == (True, False)


def test_attribution_finds_the_node_whose_requests_were_slow() -> None:
    """Node 3 sends a third of the rows and 1 in 20 of its own takes 3 s: all of the tail is its,
    and so is the cause.
    """
    columns, lane = quiet()
    columns.schedule["session"] = np.arange(ROWS)
    theirs = np.flatnonzero(np.arange(ROWS) % 3 == 2)
    slow_down(columns, theirs[::20], 3000)
    places = places_of(
        manifest_of(
            shards=shards(*NODES, regions=dict(zip(NODES, ("eu", "us", "us"), strict=True)))
        )
    )
    causes = {
        (each.factor, each.level): each
        for each in attribute_lane(columns, lane, strings, 800 * MS, None, places).causes
    }
    assert causes.keys() == {("sending node", "node-3"), ("sending region", "us")}
    cause = causes["sending node", "node-3"]
    assert (cause.share_of_tail, cause.paf) == (1.0, 1.0)
    assert cause.share_overall == pytest.approx(1 / 3)


def test_regions_of_one_node_each_are_no_factor_of_their_own() -> None:
    """The same split twice would halve what either is shown to explain."""
    columns, lane = quiet()
    columns.schedule["session"] = np.arange(ROWS)
    slow_down(columns, np.flatnonzero(np.arange(ROWS) % 3 == 2)[::20], 3000)
    places = places_of(
        manifest_of(
            shards=shards(*NODES, regions=dict(zip(NODES, ("eu", "us", "sg"), strict=True)))
        )
    )
    levels = attribute_lane(columns, lane, strings, 800 * MS, None, places).levels
    assert {level.level for level in levels if level.factor.startswith("sending")} == set(NODES)
    assert {level.factor for level in levels if level.factor.startswith("sending")} == {
        "sending node"
    }


@pytest.mark.parametrize(("lag", "state"), [(9, "valid"), (60, "degraded"), (150, "invalid")])
def test_a_node_that_sends_late_is_named(tmp_path: Path, lag: int, state: str) -> None:
    """Against a limit of 1 s, 10 ms of its own lateness degrade and 100 ms invalidate; the others
    are not named.
    """
    run = sent_from(
        tmp_path / "r", one_each(300, lag=(0, lag, 0)), lane_of(contract_of(at_most(1000)))
    )
    health = fitness(run)
    assert health.state == state
    named = [reason for reason in health.reasons if "node-" in reason]
    assert len(named) == (lag > 10)
    assert all(reason.startswith(f"node-2 itself sent late: p99 {lag} ms") for reason in named)
    assert health.facts["nodes"]["node-2"]["harness_lag_p99_ms"] == lag
    assert health.client_limited == (lag > 10)


def test_a_small_node_is_found_where_the_whole_runs_p99_is_not_moved(tmp_path: Path) -> None:
    """Of 3,000 rows 10 are node-2's and all are late by 60 ms, against 10 ms allowed: the run's p99
    is 0.
    """
    rows = one_each(3000)
    for index in range(10):
        late = rows[100 + 250 * index]
        late |= {
            name: late[name] + 60
            for name in ("sent", "first_token", "first_answer_token", "last_token", "done")
        }
    run = sent_from(tmp_path / "r", rows, lane_of(contract_of(at_most(1000))))
    schedule = run.columns.schedule
    schedule["session"] = 0
    schedule["session"][100:3000:250][:10] = 1
    health = fitness(run)
    assert health.facts["harness_lag_p99_ms"] == 0
    assert [reason.split(":")[0] for reason in health.reasons] == ["node-2 itself sent late"]


@pytest.mark.parametrize(
    ("change", "said", "state"),
    [
        (clock(bound=50), "", "valid"),
        (
            clock(bound=51),
            "node-2 has a clock known only to ± 51 ms, 1.7 % of the shortest phase",
            "degraded",
        ),
        (
            clock(drift=-60),
            "node-2 has a clock that drifted by 60 ms during the run, 2 % of the shortest phase",
            "degraded",
        ),
        (
            clock(bound=151),
            "node-2 has a clock known only to ± 151 ms, 5.03 % of the shortest phase",
            "invalid",
        ),
        (
            {"start": {"agreed_wall_ns": AGREED_NS, "wall_ns": AGREED_NS + 120 * MS}},
            "node-2 began 120 ms late, 4 % of the shortest phase",
            "degraded",
        ),
        (
            {"start": {"agreed_wall_ns": AGREED_NS, "wall_ns": AGREED_NS - 160 * MS}},
            "node-2 began 160 ms early, 5.33 % of the shortest phase",
            "invalid",
        ),
    ],
)
def test_a_node_whose_clock_or_start_is_off_is_named(
    tmp_path: Path, change: Row, said: str, state: str
) -> None:
    """Over 50 ms it is named, over a twentieth of the shortest phase (here 3 s) the run is
    invalid.
    """
    lane = lane_of(
        phases=["all"],
        phase_spans=[{"phase": "all", "start_ns": 0, "end_ns": 3 * S, "warmup": False}],
    )
    run = sent_from(tmp_path / "r", one_each(300), lane, of=shards(*NODES, node_2=change))
    health = fitness(run)
    assert (health.state, health.reasons) == (state, [said] if said else [])


def test_requests_that_a_node_could_not_send_are_its_own(tmp_path: Path) -> None:
    """5 of its 100 are told and degrade, with one more it is invalid though the run as a whole
    lacks 2 %.
    """
    for failures, state in ((5, "degraded"), (6, "invalid")):
        rows = one_each(300)
        for index in range(failures):
            due = rows[1 + 30 * index]["due"]
            rows[1 + 30 * index] = {
                "outcome": Outcome.never_sent,
                "due": due,
                "slot_free": due,
                "planned": due,
            }
        health = fitness(sent_from(tmp_path / str(failures), rows))
        assert health.state == state
        assert f"node-2 could not send {failures} of its 100 due requests" in health.reasons


def test_slow_answers_make_no_node_unfit(tmp_path: Path) -> None:
    """What the network and the server did stands in the table; a node a hundred times as slow as
    the others is fit.
    """
    run = sent_from(
        tmp_path / "r", one_each(300, e2e=(100, 10_000, 100)), lane_of(contract_of(at_most(1000)))
    )
    assert fitness(run).reasons == []
    assert not any(each.unfit for each in conducts(run))
    assert decide(run, ["unfit"]) == []


def test_a_verdict_without_a_node_counts_the_others_alone(tmp_path: Path) -> None:
    """Node-2 sent 300 of 900, all too late and all over the limit: with it the run is INVALID,
    without it 4 of 600 broke the limit; the records say whose rows are set aside, and the folder
    verifies.
    """
    rows = one_each(900, lag=(0, 150, 0), e2e=(100, 1200, 100))
    for index in (0, 2, 300, 302):
        rows[index]["last_token"] += 2000
    contract = contract_of(at_most(1000, "95%"), uptime())
    folder = sent_from(tmp_path / "r", rows, lane_of(contract)).folder
    with_it = review_json(Run(folder))[1]
    assert (with_it["overall"], with_it["clauses"][0]["n"], with_it["clauses"][0]["k"]) == (
        "INVALID",
        900,
        304,
    )
    assert "left_out" not in with_it
    before = review_json(without(Run(folder), decide(Run(folder), ["node-2"])))
    assert read_manifest(folder).left_out == []

    leave_out(folder, ["unfit"])
    why = "node-2 itself sent late: p99 150 ms, worst 150 ms (1 % of the tightest limit is 10 ms)"
    assert read_manifest(folder).left_out == [LeftOut(node="node-2", why=why)]
    records = file_records(Run(folder))
    clause = records.verdicts.to_json()["clauses"][0]
    assert (clause["n"], clause["k"], clause["excluded"]) == (
        600,
        4,
        {"sent by node-2, which was left out": 300},
    )
    assert clause["with_excluded"] == {"n": 900, "k": 304}
    assert clause["verdict"] == "PASS"
    assert records.verdicts.to_json()["left_out"] == [
        {"node": "node-2", "why": why, "requests": 300, "sent": 300, "of": 900}
    ]
    health = records.summary.health
    assert (health.state, health.facts["left_out"]) == ("valid", ["node-2"])
    assert before[1]["clauses"] == records.verdicts.to_json()["clauses"]
    assert records.summary.targets["t"].requests == 900
    assert verify(folder).differences == ()
    manifest = json.loads((folder / "run.json").read_text())
    manifest["left_out"] = []
    (folder / "run.json").write_text(json.dumps(manifest))
    assert {each.file for each in verify(folder).differences} == {
        "run.json",
        "summary.json",
        "verdicts.json",
    }


def test_only_names_of_nodes_are_left_out_and_one_must_stay(tmp_path: Path) -> None:
    """An unknown name, all names, and any name of a run that has no places are refused with the
    names there are.
    """
    run = sent_from(tmp_path / "r", one_each(300))
    for names in (["node-4"], [*NODES], ["node-1", "node-4", "unfit"]):
        with pytest.raises(UserError, match="node-1, node-2, node-3"):
            decide(run, names)
    one_out = without(run, decide(run, ["node-1"]))
    assert [entry.node for entry in decide(one_out, ["node-3"])] == ["node-1", "node-3"]
    with pytest.raises(UserError, match="nothing would be left"):
        decide(one_out, ["node-2", "node-3"])
    plain = run_of(tmp_path / "p", evenly([answered(50) for _ in range(30)]), lane_of())
    for name in ("node-1", "unfit"):
        with pytest.raises(UserError, match="does not say where it was sent from"):
            refuse_unknown([name], places_of(plain.manifest), "p")


def test_where_every_node_is_unfit_none_is_left_out_for_it(tmp_path: Path) -> None:
    """Health names all of them, the run stays INVALID, and its notes say why nobody is out."""
    run = sent_from(
        tmp_path / "r", one_each(300, lag=(150, 150, 150)), lane_of(contract_of(at_most(1000)))
    )
    leave_out(run.folder, ["unfit"])
    manifest = read_manifest(run.folder)
    assert manifest.left_out == []
    assert any("Every node" in note for note in manifest.notes)
    summary, verdicts = review_json(Run(run.folder))
    assert verdicts["overall"] == "INVALID"
    assert {
        name
        for name in NODES
        if any(reason.startswith(name) for reason in summary["health"]["reasons"])
    } == {*NODES}


def test_what_a_left_out_node_did_to_the_load_stays(tmp_path: Path) -> None:
    """A lost shard, and more than a twentieth of all requests unsent, are a load that nobody asked
    for, whoever is out.
    """
    lost = {"lost": "did not answer for 5 s"}
    rows = one_each(300)
    for index in range(1, 300, 3):
        rows[index] = {
            "outcome": Outcome.never_sent,
            "due": rows[index]["due"],
            "planned": rows[index]["due"],
        }
    facts = {"of": 3, "missing": [2], "ended_early": []}
    run = sent_from(tmp_path / "lost", rows, of=shards(*NODES, node_2=lost), shards=facts)
    run = without(run, decide(run, ["node-2"]))
    assert fitness(run).state == "invalid"
    assert fitness(run).reasons == [
        (
            "shard 2 of 3 was lost with node-2 (did not answer for 5 s): the load was not the one"
            " asked for"
        )
    ]
    verdict = review_json(run)[1]
    assert verdict["left_out"][0]["sent"] == 0
    third = run.manifest.shards[2].replace(**lost, place={"node": "node-2", "region": None})
    run.manifest = run.manifest.replace(shards=[*run.manifest.shards[:2], third])
    assert (
        fitness(run)
        .reasons[0]
        .startswith("shards 2, 3 of 3 were lost with node-2 (did not answer for 5 s)")
    )

    rows = one_each(300)
    for index in range(1, 100, 6):  # 17 of 300
        due = rows[index]["due"]
        rows[index] = {"outcome": Outcome.never_sent, "due": due, "slot_free": due, "planned": due}
    run = sent_from(tmp_path / "unsent", rows)
    run = without(run, decide(run, ["node-2"]))
    assert fitness(run).state == "invalid"
    assert (
        fitness(run)
        .reasons[0]
        .startswith("17 of 300 due requests could not be sent, with those of the nodes")
    )


def test_processes_and_starts_of_a_left_out_node_say_nothing_of_the_others(tmp_path: Path) -> None:
    """Its wall clock stepped and it began late: with it the run is invalid and says three times
    why, without it valid.
    """
    late = {"start": {"agreed_wall_ns": AGREED_NS, "wall_ns": AGREED_NS + 80 * MS}}
    harness = {
        "by_worker": [{"clock_step_ms": 1.0}, {"clock_step_ms": -400.0}, {"clock_step_ms": 2.0}],
        "clock_step_ms": -400.0,
        "shards": {"of": 3, "start_skew_ms": 80.0, "start_skew_share": 0.08},
    }
    run = sent_from(tmp_path / "r", one_each(300), of=shards(*NODES, node_2=late), **harness)
    assert (fitness(run).state, len(fitness(run).reasons)) == ("invalid", 3)
    alone = fitness(without(run, decide(run, ["node-2"])))
    assert (alone.state, alone.facts["clock_step_ms"], alone.facts["shards"]["start_skew_ms"]) == (
        "valid",
        2.0,
        0.0,
    )


def test_the_load_of_a_left_out_node_still_used_the_purchased_rate(tmp_path: Path) -> None:
    """Of 100 tokens a minute, ten a row, rows 10 and later are above: the left-out third was sent,
    so it counts.
    """
    rows = [row | {"prompt_tokens": 8, "output_tokens": 2} for row in one_each(30)]
    rule = Exclusion.model_validate(
        {"kind": "above_rate", "tokens_per_min": 100, "reason": "above the rate"}
    )
    contract = contract_of(at_most(1000)).model_copy(update={"exclusions": [rule]})
    run = sent_from(tmp_path / "r", rows)
    run = without(run, decide(run, ["node-2"]))
    classes = classify(run.columns, contract, facts_of(run, run.lanes[0], run.columns))
    assert classes.counts() == {"sent by node-2, which was left out": 10, "above the rate": 13}
    assert np.flatnonzero(classes.kept).tolist() == [0, 2, 3, 5, 6, 8, 9]


def test_comparisons_and_a_census_of_the_run_leave_the_same_rows_aside(tmp_path: Path) -> None:
    """An arm has no row of the node, and the log says which of its rows are set aside."""
    run = sent_from(tmp_path / "r", one_each(300, e2e=(100, 900, 100)))
    assert len(arm_of(run, 0, "e2e")) == 300
    run = without(run, decide(run, ["node-2"]))
    arm = arm_of(run, 0, "e2e")
    assert (len(arm), set(arm.values.tolist()), arm.facts.left_out) == (
        200,
        {100 * MS},
        ["node-2"],
    )
    log = log_of_run(run)
    ((reason, rows),) = log.facts.aside
    assert (latency_ns(log.columns.samples[rows], "e2e") == 900 * MS).all()
    assert rows.sum() == 100
    assert f"set aside: rows {reason}" in log.notes
    assert dataclasses.replace(log.facts).where(rows).aside[0][1].all()
