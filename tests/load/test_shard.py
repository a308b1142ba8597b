"""Shards of a run in a world without time: together they are the run, row for row."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.app.merge import merge
from bench.cli import main
from bench.clock import monotonic_ns, wall_ns, wall_offset_ns
from bench.errors import TailproofError, UserError
from bench.load.ceiling import default_workers
from bench.load.shard import (
    AHEAD_NS,
    LATE_NS,
    UNSHARDED,
    Place,
    Shard,
    Start,
    cut_table,
    parse_instant,
    parse_shard,
    parse_vantage,
)
from bench.plan.clause import parse_slo
from bench.plan.contract import Contract
from bench.plan.schedule import Plan
from bench.record.facts import places_of
from bench.record.files import write_json
from bench.record.histogram import read_hlog, write_histograms
from bench.record.identity import plan_facts
from bench.record.parts import Share, rows_of_shards
from bench.record.run_folder import Run, RunWriter, read_manifest, write_manifest
from bench.record.samples import ATTEMPT_DTYPE, Outcome, Table
from bench.units import MS, S
from tests.support.records import review_json
from tests.support.world import Ask, Reply, plan_for, play, whole

AGREED_NS = 1_800_000_000 * S
SESSIONS: dict[str, Any] = {"sessions": {"turns": {"fixed": 3}, "think": "40ms"}}
POISSON = {"kind": "poisson", "rate": "50/s"}


def answer(ask: Ask) -> Reply:
    """A server whose answer follows from the words it was asked alone: quick, slow, an error, a
    reset.
    """
    drawn = zlib.crc32(ask.body)
    if drawn % 11 == 0:
        return Reply(head=20 * MS, end=20 * MS, status=503, body=b'{"error":{"message":"busy"}}')
    if drawn % 13 == 0:
        return Reply(fail=(15 * MS, Outcome.reset))
    return whole((5 + drawn % 400) * MS, tokens=2 + drawn % 5)


def made(
    plan: Plan,
    folder: Path,
    shard: Shard = UNSHARDED,
    *,
    skew_ns: int = 0,
    stop_at: tuple[int, ...] = (),
    early: str | None = None,
    sent_from: dict[str, Any] | None = None,
    late_ns: int = 0,
) -> Path:
    """The folder of a run or of one of its shards, as `runner.play` leaves it; `sent_from` is what
    its shard's record says besides, `late_ns` after its time each request left.
    """
    part = shard.cut(plan)
    played = play(part, answer, stop_at=stop_at)
    manifest = plan_facts(part, folder.name, AGREED_NS).replace(
        **shard.facts(Start(0, AGREED_NS, shard.start_at_ns)), notes=[], repeat_command=""
    )
    if manifest.start is not None:
        late = manifest.start.replace(wall_ns=manifest.start.wall_ns + skew_ns)
        manifest = manifest.replace(start=late)
    if manifest.shard is not None:
        manifest = manifest.replace(shard=manifest.shard.replace(**(sent_from or {})))
    for name in (
        "sent_ns",
        "headers_ns",
        "first_byte_ns",
        "first_token_ns",
        "first_answer_token_ns",
        "last_token_ns",
        "done_ns",
    ):
        played.columns.samples[name][played.columns.samples[name] >= 0] += late_ns
    writer = RunWriter(folder, manifest, part.schedule)
    shard.keep(part, writer)
    write_histograms(folder, part, played.columns.samples, played.journal.gap_histograms, AGREED_NS)
    end = {
        "strings": played.journal.texts(),
        "harness": {"workers": 1, "by_worker": [{}]},
        "ended_wall_ns": AGREED_NS + 60 * S,
        "stopped_ns": max(stop_at, default=None),
        "ended_early": early,
    }
    writer.finish(
        "interrupted" if stop_at and early is None else "complete", played.columns.samples, end
    )
    return folder


def shards(plan: Plan, root: Path, of: int) -> list[Path]:
    """Folders of all shards, with an agreed instant."""
    return [
        made(plan, root / f"s{number}", Shard(number, of, AGREED_NS)) for number in range(1, of + 1)
    ]


def rows(folder: Path) -> Table:
    """The sealed samples."""
    table: Table = np.load(folder / "samples" / "rows.npy")
    return table


def with_texts(folder: Path) -> dict[str, Any]:
    """Every column but the worker's, with texts in place of their numbers."""
    table, strings = rows(folder), read_manifest(folder).strings
    return {
        name: [strings[name][n] if n >= 0 else None for n in table[name]]
        if name in strings
        else table[name].tolist()
        for name in table.dtype.names or ()
        if name != "worker"
    }


def judged(plan: Plan, *slos: str) -> Plan:
    """The plan with a contract for its lanes."""
    clauses = [parse_slo(slo) for slo in slos]
    contract = Contract(title="t", name="c").model_copy(update={"clauses": clauses})
    return replace(plan, lanes=tuple(replace(lane, contract=contract) for lane in plan.lanes))


@pytest.mark.parametrize("of", [2, 3, 7])
@pytest.mark.parametrize(
    ("arrivals", "profile", "targets"),
    [
        (POISSON, {"duration": "6s"}, 1),
        (POISSON, {"duration": "6s"}, 2),
        ({"kind": "poisson", "rate": "20/s"}, {"duration": "5s", **SESSIONS}, 2),
        ({"kind": "closed", "concurrency": 9}, {"requests": 240}, 1),
        ({"kind": "closed", "concurrency": 8}, {"duration": "3s"}, 1),
    ],
    ids=["open", "two targets", "sessions", "closed by count", "closed by duration"],
)
def test_merged_shards_are_the_unsharded_run_row_for_row(
    tmp_path: Path, of: int, arrivals: dict[str, Any], profile: dict[str, Any], targets: int
) -> None:
    """Schedule, samples with their texts, histograms, summary and verdicts of the merged run are
    those of the run in one piece.
    """
    plan = judged(plan_for(arrivals, targets=targets, **profile), "e2e:p90<300ms", "uptime>=80%")
    one = made(plan, tmp_path / "one")
    out = merge(list(reversed(shards(plan, tmp_path, of))), tmp_path / "all")
    assert (out / "schedule.npy").read_bytes() == (one / "schedule.npy").read_bytes()
    assert with_texts(out) == with_texts(one)
    logs = [
        {tag.tag: tag.histogram.cells() for tag in read_hlog(folder / "histograms.hlog")[1]}
        for folder in (one, out)
    ]
    assert logs[0] == logs[1]
    assert any("inter_chunk" in tag for tag in logs[0])
    (first, told), (second, again) = review_json(Run(one)), review_json(Run(out))
    assert first["targets"] == second["targets"]
    assert told["clauses"] == again["clauses"]
    assert (told["overall"], told["exit_code"]) == (again["overall"], again["exit_code"])
    assert read_manifest(out).lanes == read_manifest(one).lanes


def test_the_order_of_folders_changes_nothing(tmp_path: Path) -> None:
    """The same shards in any order give the same bytes."""
    plan = plan_for(POISSON, duration="4s")
    folders = shards(plan, tmp_path, 3)
    outs = [merge(order, tmp_path / name) for name, order in (("a", folders), ("b", folders[::-1]))]
    for name in ("run.json", "samples/rows.npy", "histograms.hlog"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


def test_a_shard_that_is_not_given_is_never_sent_and_makes_the_run_invalid(tmp_path: Path) -> None:
    """Its rows are there with their due times and the reason, the others as they were; nothing is
    judged by it.
    """
    plan = judged(plan_for(POISSON, duration="6s"), "e2e:p50<5s")
    first, _, third = shards(plan, tmp_path, 3)
    out = merge([first, third], tmp_path / "all")
    run = Run(out)
    lost = plan.schedule["session"] % 3 == 1
    samples = run.columns.samples
    assert (samples["outcome"][lost] == Outcome.never_sent).all()
    assert (samples["due_ns"] == plan.schedule["due_ns"]).all()
    assert {run.strings("note")[number] for number in samples["note"][lost]} == {
        "shard 2 of 3 was not given"
    }
    assert (samples["outcome"][~lost] != Outcome.never_sent).all()
    summary, verdicts = review_json(run)
    assert (summary["health"]["state"], verdicts["overall"], verdicts["exit_code"]) == (
        "invalid",
        "INVALID",
        4,
    )
    assert summary["health"]["reasons"][0].startswith("shard 2 of 3 was not given")
    assert verdicts["clauses"][0]["unknown"] == lost.sum()


def test_a_shard_that_broke_off_beside_whole_ones_says_so_in_each_row(tmp_path: Path) -> None:
    """Rows it came to are kept, the others never sent with the reason, and the run is invalid, not
    interrupted.
    """
    plan = judged(plan_for(POISSON, duration="6s"), "e2e:p50<5s")
    folders = [
        made(plan, tmp_path / "s1", Shard(1, 2, AGREED_NS)),
        made(plan, tmp_path / "s2", Shard(2, 2, AGREED_NS), stop_at=(2 * S,)),
    ]
    run = Run(merge(folders, tmp_path / "all"))
    samples, mine = run.columns.samples, plan.schedule["session"] % 2 == 1
    late = mine & (plan.schedule["due_ns"] > 2 * S)
    assert (samples["outcome"][late] == Outcome.never_sent).all()
    assert {run.strings("note")[number] for number in samples["note"][late]} == {
        "shard 2 of 2 ended before this row"
    }
    assert (samples["outcome"][mine & ~late] != Outcome.never_sent).all()
    summary, verdicts = review_json(run)
    assert (run.state, summary["health"]["state"], verdicts["exit_code"]) == (
        "complete",
        "invalid",
        4,
    )


@pytest.mark.parametrize(
    ("early", "state", "code"), [(None, "interrupted", 130), ("the cap is used up", "complete", 0)]
)
def test_a_run_all_of_whose_shards_ended_early_ended_early(
    tmp_path: Path, early: str | None, state: str, code: int
) -> None:
    """By Ctrl-C or by a rule of its own: what it came to is judged, and what it never came to is no
    row.
    """
    plan = judged(plan_for(POISSON, duration="6s"), "e2e:p50<5s")
    folders = [
        made(
            plan,
            tmp_path / f"s{number}",
            Shard(number, 2, AGREED_NS),
            stop_at=(3 * S,),
            early=early,
        )
        for number in (1, 2)
    ]
    run = Run(merge(folders, tmp_path / "all"))
    summary, verdicts = review_json(run)
    assert (run.state, verdicts["exit_code"], run.until_ns, run.manifest.ended_early) == (
        state,
        code,
        3 * S,
        early,
    )
    assert summary["targets"]["t0"]["reached"] == (plan.schedule["due_ns"] <= 3 * S).sum()


@pytest.mark.parametrize(("skew_ms", "state"), [(40, "valid"), (60, "degraded"), (320, "invalid")])
def test_a_shard_that_began_at_another_instant_is_seen(
    tmp_path: Path, skew_ms: int, state: str
) -> None:
    """Over 50 ms the run is degraded, over a twentieth of its shortest phase (here 6 s) invalid;
    rows stay as its clock had them.
    """
    plan = plan_for(POISSON, duration="6s")
    folders = [
        made(
            plan,
            tmp_path / f"s{number}",
            Shard(number, 2, AGREED_NS),
            skew_ns=skew_ms * MS * (number - 1),
        )
        for number in (1, 2)
    ]
    run = Run(merge(folders, tmp_path / "all"))
    health = review_json(run)[0]["health"]
    assert health["state"] == state
    assert health["facts"]["shards"]["start_skew_ms"] == skew_ms
    assert (run.columns.samples["due_ns"] == plan.schedule["due_ns"]).all()


def test_without_an_agreed_instant_rows_count_from_the_first_shards_start(tmp_path: Path) -> None:
    """Every moment of the shard that began 30 ms later is 30 ms later, lengths are not; the run
    began with the first.
    """
    plan = plan_for(POISSON, duration="6s")
    folders = [
        made(plan, tmp_path / f"s{number}", Shard(number, 2), skew_ns=30 * MS * (number - 1))
        for number in (1, 2)
    ]
    out = merge(folders, tmp_path / "all")
    samples, second = rows(out), plan.schedule["session"] % 2 == 1
    alone = rows(folders[1])
    assert read_manifest(out).started_wall_ns == AGREED_NS
    assert (samples["due_ns"] - plan.schedule["due_ns"] == np.where(second, 30 * MS, 0)).all()
    for name in ("sent_ns", "done_ns", "last_token_ns"):
        assert (samples[name][second] - alone[name] == np.where(alone[name] >= 0, 30 * MS, 0)).all()
    for name in ("gap_max_ns", "gap_sum_ns", "connect_ns"):
        assert (samples[name][second] == alone[name]).all()


def test_attempts_and_changes_of_legs_find_their_rows_and_workers(tmp_path: Path) -> None:
    """A call names its row in the whole plan, its text and its worker among all; a leg's change
    keeps its moment.
    """
    plan = plan_for(POISSON, duration="4s")
    folders = []
    for number in (1, 2):
        shard = Shard(number, 2, AGREED_NS)
        part, folder = shard.cut(plan), tmp_path / f"s{number}"
        tried = np.zeros(2, ATTEMPT_DTYPE)
        tried["row"], tried["sent_ns"], tried["note"], tried["worker"] = (1, 3), 7, (0, -1), (0, 1)
        writer = RunWriter(
            folder,
            plan_facts(part, "r", AGREED_NS).replace(
                **shard.facts(Start(0, AGREED_NS, shard.start_at_ns))
            ),
            part.schedule,
        )
        shard.keep(part, writer)
        strings = {
            kind: [f"only of {number}"]
            for kind in ("served_model", "served_region", "finish", "note")
        }
        change = {
            "lane": "t0",
            "leg": 0,
            "at_ns": 50 - number,
            "state": "open",
            "why": "w",
            "worker": 1,
        }
        samples = play(part, answer).columns.samples
        samples["note"] = -1
        writer.finish(
            "complete",
            samples,
            {
                "strings": strings,
                "leg_events": [change],
                "harness": {"workers": 2, "by_worker": [{}, {}]},
            },
            tried,
        )
        folders.append(folder)
    run = Run(merge(folders, tmp_path / "all"))
    whole_rows = {
        number: np.flatnonzero(plan.schedule["session"] % 2 == number - 1) for number in (1, 2)
    }
    wanted = sorted(
        (int(whole_rows[number][row]), note, 2 * (number - 1) + row // 2)
        for number in (1, 2)
        for row, note in ((1, f"only of {number}"), (3, ""))
    )
    names = [*run.strings("note"), ""]
    assert [
        (int(call["row"]), names[call["note"]], int(call["worker"])) for call in run.attempts
    ] == wanted
    assert [(event.at_ns, event.worker) for event in run.manifest.leg_events] == [
        (48, 3),
        (49, 1),
    ]


def vantages(plan: Plan, root: Path, late_ms: tuple[int, ...] = (0, 80, 0)) -> list[Path]:
    """A shard a node, each so late by its own doing; two of them in one region."""
    regions, clock = (
        ("eu", "eu", None),
        {"offset_ms": -3.0, "bound_ms": 0.5, "drift_ms": 0.1, "round_trips": 9},
    )
    return [
        made(
            plan,
            root / f"s{number}",
            Shard(number, 3, AGREED_NS),
            late_ns=late * MS,
            sent_from={
                "place": {"node": f"node-{number}", "region": regions[number - 1]},
                "clock": clock,
            },
        )
        for number, late in enumerate(late_ms, 1)
    ]


def test_a_merged_run_knows_where_each_row_was_sent_from(tmp_path: Path) -> None:
    """Place and clock of each shard are in the manifest, and so each row has its node, in the
    summary too.
    """
    plan = plan_for(POISSON, duration="6s")
    run = Run(merge(vantages(plan, tmp_path), tmp_path / "all"))
    assert [shard.place and shard.place.to_json() for shard in run.manifest.shards] == [
        {"node": "node-1", "region": "eu"},
        {"node": "node-2", "region": "eu"},
        {"node": "node-3", "region": None},
    ]
    clocks = [shard.clock for shard in run.manifest.shards]
    assert {clock and clock.offset_ms for clock in clocks} == {-3.0}
    places = places_of(run.manifest)
    assert places is not None
    assert (places.node_of(run.columns.schedule) == plan.schedule["session"] % 3).all()
    summary = review_json(run)[0]
    by_node = summary["targets"]["t0"]["by_node"]
    assert {name: part["requests"] for name, part in by_node.items()} == {
        f"node-{number + 1}": (plan.schedule["session"] % 3 == number).sum() for number in range(3)
    }
    assert next(reason for reason in summary["health"]["reasons"] if "node" in reason).startswith(
        "node-2 itself sent late: p99 80 ms"
    )


def test_merge_leaves_a_node_out_for_good_and_judge_for_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`merge --leave-out unfit` keeps node-2 out of every later verdict, which verifies; judge does
    the same without writing.
    """
    plan = judged(plan_for(POISSON, duration="6s"), "e2e:p90<500ms")
    folders = [*map(str, vantages(plan, tmp_path, (0, 300, 0)))]
    whole, without = tmp_path / "whole", tmp_path / "without"
    assert main(["merge", *folders, "--out", str(whole)]) == 4
    assert (
        main(["merge", *folders, "--out", str(without), "--leave-out", "unfit", "--format", "json"])
        != 4
    )
    said = capsys.readouterr()
    verdicts = json.loads(said.out[said.out.index("{") :])["runs"][0]["verdicts"]
    theirs = int((plan.schedule["session"] % 3 == 1).sum())
    assert [(entry["node"], entry["requests"]) for entry in verdicts["left_out"]] == [
        ("node-2", theirs)
    ]
    assert verdicts["clauses"][0]["n"] == len(plan.schedule) - theirs
    assert verdicts["clauses"][0]["excluded"] == {"sent by node-2, which was left out": theirs}
    assert main(["verify", str(without)]) == 0
    before = (whole / "run.json").read_bytes(), (whole / "verdicts.json").read_bytes()
    capsys.readouterr()
    code = main(["judge", str(whole), "--leave-out", "node-2", "--format", "json"])
    again = json.loads(capsys.readouterr().out)
    assert (code, again["clauses"]) == (verdicts["exit_code"], verdicts["clauses"])
    assert ((whole / "run.json").read_bytes(), (whole / "verdicts.json").read_bytes()) == before
    assert "node-2 is left out of the verdict" in (without / "report.html").read_text()
    assert main(["report", str(without)]) == 0
    assert "itself sent late" in (without / "report.md").read_text()


@pytest.mark.parametrize(
    "names", [["node-9"], ["node-1", "node-2", "node-3"], ["node-2", "nobody"]]
)
def test_merge_refuses_names_before_it_writes(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with the names there are, and no folder."""
    folders = [*map(str, vantages(plan_for(POISSON, duration="3s"), tmp_path))]
    flags = [word for name in names for word in ("--leave-out", name)]
    assert main(["merge", *folders, "--out", str(tmp_path / "all"), *flags]) == 2
    assert "node-1, node-2, node-3" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def edited(folder: Path) -> None:
    """A field changed behind the manifest's back."""
    write_json(folder / "run.json", read_manifest(folder).to_json() | {"seed": 2})


def another_contract(folder: Path) -> None:
    """As a shard that was given another --slo, its digest true."""
    manifest = read_manifest(folder)
    first = manifest.lanes[0].replace(contract_written={"title": "other"})
    write_manifest(folder, manifest.replace(lanes=[first, *manifest.lanes[1:]]))


def another_instant(folder: Path) -> None:
    """As a shard with another --start-at."""
    manifest = read_manifest(folder)
    assert manifest.start is not None
    start = manifest.start.replace(agreed_wall_ns=AGREED_NS + S)
    write_manifest(folder, manifest.replace(start=start))


def killed_at_once(folder: Path) -> None:
    """As a shard that died before it kept the whole plan."""
    manifest = read_manifest(folder)
    assert manifest.shard is not None
    write_manifest(folder, manifest.replace(shard=manifest.shard.without("whole_sha256")))


def damaged(folder: Path) -> None:
    """A sample lost on the way."""
    path = folder / "samples" / "rows.npy"
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited, "edited"),
        (another_contract, "contract of t0 differs"),
        (another_instant, "--start-at differs"),
        (killed_at_once, "schedule differs"),
        (damaged, "sealed"),
    ],
)
def test_what_is_not_of_one_run_is_refused_by_name(tmp_path: Path, change: Any, said: str) -> None:
    """The folder and what is wrong with it are named, and nothing is left behind."""
    plan = judged(plan_for(POISSON, duration="3s"), "e2e:p50<5s")
    folders = shards(plan, tmp_path, 2)
    change(folders[1])
    with pytest.raises(TailproofError, match=said) as refused:
        merge(folders, tmp_path / "all")
    assert refused.value.where is not None
    assert "s2" in refused.value.where
    assert not (tmp_path / "all").exists()


def test_a_shard_twice_and_a_shard_of_another_seed_and_of_another_number_are_refused(
    tmp_path: Path,
) -> None:
    """Both folders are named; so is what is no shard."""
    plan = plan_for(POISSON, duration="3s")
    first, second = shards(plan, tmp_path, 2)
    again = made(plan, tmp_path / "again", Shard(1, 2, AGREED_NS))
    other = made(replace(plan, seed=9), tmp_path / "seed", Shard(2, 2, AGREED_NS))
    third = made(plan, tmp_path / "third", Shard(3, 3, AGREED_NS))
    for folders, named in (
        ([first, again], ("again", str(first))),
        ([first, other], ("seed", str(first))),
        ([first, third], ("third", "number of shards")),
        ([second, made(plan, tmp_path / "one")], ("one", "no shard")),
    ):
        with pytest.raises(UserError) as refused:
            merge(folders, tmp_path / "all")
        assert all(name in str(refused.value) for name in named)


def test_a_shard_under_way_is_refused(tmp_path: Path) -> None:
    """Its writer is alive; once that is gone it counts as broken off."""
    plan = plan_for(POISSON, duration="3s")
    first, shard = made(plan, tmp_path / "s1", Shard(1, 2, AGREED_NS)), Shard(2, 2, AGREED_NS)
    part = shard.cut(plan)
    writer = RunWriter(
        tmp_path / "s2",
        plan_facts(part, "r", AGREED_NS).replace(
            **shard.facts(Start(0, AGREED_NS, shard.start_at_ns))
        ),
        part.schedule,
    )
    shard.keep(part, writer)
    with pytest.raises(TailproofError, match="still going on"):
        merge([first, writer.folder], tmp_path / "all")
    writer.let_go()
    run = Run(merge([first, writer.folder], tmp_path / "all"))
    gathered = run.manifest.harness.shards
    assert gathered is not None
    assert gathered.ended_early == [2]


@pytest.mark.parametrize("workers", [(1, 1, 1), (2, 2, 2), (1, 3, 2)])
def test_shards_and_their_workers_share_sessions_and_caps(workers: Sequence[int]) -> None:
    """Each session is one process's, whatever the shards' workers; the workers' caps add up to the
    shard's, the shards' to the plan's.
    """
    schedule = np.zeros(120, [("session", "<i4"), ("turn", "<i4")])
    schedule["session"] = np.arange(120) // 3
    owners = [
        Share(worker, count, shard, 3).rows(schedule)
        for shard, count in enumerate(workers)
        for worker in range(count)
    ]
    assert (np.sum(owners, axis=0) == 1).all()
    for cap in (3, 20, 23):
        parts = [
            sum(Share(worker, count, shard, 3).cap(cap) or 0 for worker in range(count))
            for shard, count in enumerate(workers)
        ]
        assert (
            parts
            == [Share(shard=shard, shards=3).cap(cap) for shard in range(3)]
            == [(cap + 2 - shard) // 3 for shard in range(3)]
        )


def test_a_shard_has_no_more_workers_than_its_part_of_a_cap() -> None:
    """Six at once in three shards leave two to each, however many workers the load would take."""
    plan = plan_for({"kind": "constant", "rate": "20000/s"}, duration="1s", max_in_flight=6)
    assert [default_workers(plan, cores=65, shards=shards) for shards in (1, 3)] == [6, 2]


def test_a_cut_table_keeps_each_request_and_what_it_waits_for() -> None:
    """Rows that wait do so for the turn before of their own session, and no row is changed
    otherwise.
    """
    table = plan_for({"kind": "poisson", "rate": "20/s"}, duration="5s", **SESSIONS).schedule
    for number in range(3):
        part = cut_table(table, np.flatnonzero(Share(shard=number, shards=3).rows(table)))
        kept = table[table["session"] % 3 == number]
        assert all(
            (part[name] == kept[name]).all()
            for name in table.dtype.names or ()
            if name != "after_row"
        )
        waits = np.flatnonzero(part["after_row"] >= 0)
        before = part[part["after_row"][waits]]
        assert len(waits) == (kept["after_row"] >= 0).sum()
        assert (before["session"] == part["session"][waits]).all()
        assert (before["turn"] + 1 == part["turn"][waits]).all()


def test_a_plan_with_less_than_a_request_a_shard_is_refused() -> None:
    """A lane must have a session for each shard."""
    plan = plan_for({"kind": "constant", "rate": "1/s"}, duration="3s")
    assert [len(Shard(number, 3).cut(plan).schedule) for number in (1, 2, 3)] == [1, 1, 1]
    with pytest.raises(UserError, match="no request for shard 4 of 4"):
        Shard(4, 4).cut(plan)


def test_the_agreed_instant_is_one_instant_on_both_clocks() -> None:
    """Time zero lies where the wall clock will show it; gone by or a day ahead it is refused."""
    now = wall_ns()
    start = Shard(1, 2, now + 5 * S).start(1)
    assert start is not None
    assert abs(start.t0 + wall_offset_ns() - (now + 5 * S)) < 50 * MS
    for at_ns, said in ((now - LATE_NS - S, "ago"), (now + AHEAD_NS + 60 * S, "ahead")):
        with pytest.raises(UserError, match=said):
            Shard(1, 2, at_ns).start(1)
    at_once = Shard(1, 2).start(2)
    assert at_once is not None
    assert at_once.t0 > monotonic_ns()
    assert Shard().start(1) is None


def test_shards_and_instants_are_read_as_written() -> None:
    """I/N counts from 1; an instant is Unix seconds or RFC 3339 with an offset."""
    assert (parse_shard("3/10"), parse_shard("1/1")) == ((3, 10), (1, 1))
    assert parse_instant("1800000000.25") == 1_800_000_000_250_000_000
    assert (
        parse_instant("2027-01-15T08:00:00Z")
        == parse_instant("2027-01-15T09:00:00+01:00")
        == AGREED_NS
    )
    for text in ("0/3", "4/3", "3", "a/b", "-1/3"):
        with pytest.raises(ValueError, match="3/10"):
            parse_shard(text)
    for text in ("soon", "2027-01-15T08:00:00", "", "nan", "inf"):
        with pytest.raises(ValueError, match=r"instant|offset"):
            parse_instant(text)


@pytest.mark.parametrize("of", [1, 2, 7, 60, 70_000])
def test_all_shards_at_once_are_the_shards_one_by_one(of: int) -> None:
    """One sort gives each shard the rows that looking at every row gives it, also of more shards
    than 16 bits count.
    """
    table = plan_for({"kind": "poisson", "rate": "100/s"}, duration="4s", **SESSIONS).schedule
    found = rows_of_shards(table, of)
    assert len(found) == of
    for index in {0, 1 % of, of // 2, of - 1}:
        assert (
            found[index].tolist()
            == np.flatnonzero(Share(shard=index, shards=of).rows(table)).tolist()
        )


def test_the_plans_of_all_shards_are_those_that_each_cuts_for_itself() -> None:
    """Tables to the byte, counts, drills with the first alone."""
    plan = plan_for({"kind": "poisson", "rate": "50/s"}, targets=2, duration="4s", **SESSIONS)
    for number, part in enumerate(Shard.all_of(plan, 5), 1):
        alone = Shard(number, 5).cut(plan)
        assert part.schedule.tobytes() == alone.schedule.tobytes()
        assert (part.lanes, part.drills) == (alone.lanes, alone.drills)


def test_a_vantage_names_a_node_and_perhaps_its_region(tmp_path: Path) -> None:
    """`NODE` or `NODE@REGION`, in the shard's record and so among the merged run's places; anything
    else is refused.
    """
    assert parse_vantage("runner-3") == Place("runner-3")
    assert parse_vantage(" runner-3@eu-west ") == Place("runner-3", "eu-west")
    for wrong in ("", "@eu", "a@", "a b", "a@b@c", "x" * 61):
        with pytest.raises(ValueError, match="is not a place"):
            parse_vantage(wrong)
    plan = plan_for(POISSON, duration="6s")
    folders = [
        made(plan, tmp_path / name, Shard(number, 2, AGREED_NS, Place(name, "eu")))
        for number, name in enumerate(("one", "two"), 1)
    ]
    places = places_of(read_manifest(merge(folders, tmp_path / "all")))
    assert places is not None
    assert (places.names, places.regions) == (["one", "two"], ["eu"])
