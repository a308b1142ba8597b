"""A cluster's run whose driver is killed, stopped or ends by a rule: what the shards do, and how
the run is brought to its end.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.cli.run import suite_of
from bench.clock import monotonic_ns, wall_ns
from bench.errors import ExitCode, RunFolderError, UserError
from bench.extras.cluster.agent import Agent
from bench.extras.cluster.driver import collect
from bench.load.guard import Caps
from bench.load.options import RunOptions, plan_file
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.record.digests import OWN, manifest_digest
from bench.record.files import write_json
from bench.record.identity import plan_facts
from bench.record.records.census import Months
from bench.record.records.manifest import PlaceRecord, ShardRecord
from bench.record.run_folder import Run, RunWriter, read_manifest, under_way
from bench.record.samples import Outcome
from bench.units import S
from tests.support.flags import run_flags
from tests.support.local_cluster import (
    EU,
    US,
    Heard,
    LocalAgent,
    LocalCluster,
    ManyRunsProvider,
    asked,
    conduct_on,
    driver,
    left_in,
    places_of_shards,
    rows_of_shard,
    rows_that,
    serving,
    suite_for,
)
from tests.support.patience import until
from tests.support.pulse import Pulse, some_must_be_kept

STEADY = ("--request-rate", "40", "--duration", "20s", "--slo", "e2e:p50<5s")


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManyRunsProvider]:
    """A server that writes down what it was asked and what it answered; runs lie beside `nodes`."""
    with serving(tmp_path, monkeypatch) as server:
        yield server


def started(
    provider: ManyRunsProvider, requests: int, *flags: str, pulse: Pulse | None = None
) -> subprocess.Popen[str]:
    """A driver whose shards have sent so many; with `pulse`, until some of them must be on disk."""
    process = driver(provider.server_port, Path("nodes").resolve(), *STEADY, *flags)
    until(
        lambda: (
            process.poll() is not None
            or (
                asked(provider) >= requests
                and (pulse is None or some_must_be_kept(provider, pulse))
            )
        )
    )
    assert process.poll() is None, process.communicate()[0]
    return process


def drained() -> None:
    """Wait until no shard writes to its folder any more."""
    until(lambda: not any(under_way(Path("nodes", name)) for name in left_in(Path("nodes"))))


def last_asked_ns(provider: ManyRunsProvider) -> int:
    """When the provider was asked for the last time."""
    return max(max(moments) for moments in provider.asked.values())


def test_a_run_whose_driver_is_killed_is_collected(
    provider: ManyRunsProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its shards send nothing more and seal; the folder says what to do; collected, every answer is
    on record, once and for all.
    """
    with Pulse() as pulse, started(provider, 40, pulse=pulse) as process:
        with pytest.raises(RunFolderError, match="is still going on"):
            collect(Path("r"), LocalCluster(EU, US).join)
        assert main(["resume", "r"]) == 2
        process.kill()
        killed_ns = monotonic_ns()
        process.communicate()
        drained()
    assert last_asked_ns(provider) <= killed_ns + S + 2 * pulse.worst_ns
    assert main(["report", "r"]) == 0
    assert "tailproof collect RUN brings it here" in Path("r/report.html").read_text()
    capsys.readouterr()
    assert main(["judge", "r"]) == 130
    assert "tailproof collect RUN brings it here" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", "r"]) == 0
    assert main(["resume", "r"]) == 2
    assert "; tailproof collect r" in capsys.readouterr().err
    shutil.copytree("r", "offline")

    done = collect(Path("r"), LocalCluster(EU, US).join)
    run = Run(Path("r"))
    assert done.exit_code == ExitCode.INTERRUPTED
    assert run.state == "interrupted"
    assert {len(moments) for moments in provider.asked_of(run).values()} == {1}
    assert (
        rows_that(run, Outcome.ok) == set(provider.answered_of(run)) == set(provider.asked_of(run))
    )
    assert places_of_shards(run.manifest) == [("node-1", "eu"), ("node-2", "us")]
    assert "cluster" not in json.loads(Path("r/run.json").read_text())
    assert left_in(Path("nodes")) == []
    assert not Path("r/shards").exists()
    assert main(["verify", "r"]) == 0
    with pytest.raises(UserError, match="has no shards that lie elsewhere"):
        collect(Path("r"), LocalCluster(EU, US).join)

    assert collect(Path("offline"), None).exit_code == ExitCode.INTERRUPTED
    offline = Run(Path("offline"))
    answered = provider.answered_of(offline)
    earlier = {row for row, at_ns in answered.items() if at_ns < killed_ns - pulse.loss_ns}
    assert earlier
    assert earlier <= rows_that(offline, Outcome.ok) <= set(answered)


def test_what_a_lost_node_kept_is_told_and_what_had_come_of_it_stays(
    provider: ManyRunsProvider,
) -> None:
    """Driver and one node are gone: the other's rows are whole, of the lost one those that were
    here before.
    """
    with Pulse() as pulse, started(provider, 40, pulse=pulse) as process:
        process.kill()
        killed_ns = monotonic_ns()
        process.communicate()
        drained()

    def second_is_gone(*place: Any) -> LocalAgent:
        agent = LocalAgent(*place)
        agent.lost = "no such node" if agent.node_id == "id-1" else None
        return agent

    done = collect(Path("r"), LocalCluster(EU, US, make_remote=second_is_gone).join)
    run = Run(Path("r"))
    answered, ok = provider.answered_of(run), rows_that(run, Outcome.ok)
    theirs = {*rows_of_shard(run, 2, 2)}
    earlier = {row for row, at_ns in answered.items() if at_ns < killed_ns - pulse.loss_ns}
    assert earlier & theirs
    assert earlier | (set(answered) - theirs) <= ok <= set(answered)
    assert "shard 2 of 2 was lost with node-2 (no such node)" in " ".join(
        done.records.summary.health.reasons
    )
    assert len(left_in(Path("nodes"))) == 1


def test_what_lies_on_a_shared_folder_is_collected_without_the_cluster(
    provider: ManyRunsProvider,
) -> None:
    """No node is asked, the shards are waited for until they have sealed, and the folder is left
    empty.
    """
    with started(provider, 20, "--shared", "between") as process:
        process.kill()
        process.communicate()

    def join(_address: str) -> LocalCluster:
        raise AssertionError("nobody is asked")

    assert len(left_in(Path("between"))) == 2
    assert collect(Path("r"), join).exit_code == ExitCode.INTERRUPTED
    run = Run(Path("r"))
    assert (
        rows_that(run, Outcome.ok) == set(provider.answered_of(run)) == set(provider.asked_of(run))
    )
    assert left_in(Path("between")) == left_in(Path("nodes")) == []
    assert main(["verify", "r"]) == 0


@pytest.mark.parametrize("forged", ["unsigned", "signed"])
def test_a_folder_that_was_forged_has_nothing_removed(
    forged: str, provider: ManyRunsProvider
) -> None:
    """A manifest that names somebody's folder as a shard's is refused, or takes nothing
    from there.
    """
    with started(provider, 20) as process:
        process.kill()
        process.communicate()
        drained()
    precious = Path("precious")
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    manifest = read_manifest(Path("r")).to_json()
    for agent in manifest["cluster"]["seats"]:
        agent["folder"] = str(precious.resolve())
    manifest["cluster"]["shared"] = True
    if forged == "signed":
        write_json(Path("r/run.json"), manifest | {OWN: manifest_digest(manifest)})
        collect(Path("r"), None)
    else:
        write_json(Path("r/run.json"), manifest)
        with pytest.raises(RunFolderError, match="was edited"):
            collect(Path("r"), None)
    assert (precious / "letter.txt").read_text() == "dear"


def test_ctrl_c_stops_every_shard(provider: ManyRunsProvider) -> None:
    """Interrupted, drained, exit 130: every answer is on record, and no node keeps anything."""
    with started(provider, 20) as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=50)[0]
    assert process.returncode == ExitCode.INTERRUPTED, said
    run = Run(Path("r"))
    assert run.state == "interrupted"
    assert (
        rows_that(run, Outcome.ok) == set(provider.answered_of(run)) == set(provider.asked_of(run))
    )
    assert [shard.state for shard in run.manifest.shards] == ["interrupted", "interrupted"]
    assert asked(provider) < len(run.columns)
    assert left_in(Path("nodes")) == []
    assert main(["verify", "r"]) == 0
    assert main(["resume", "r"]) == 2  # what one machine would send now is not what two nodes left


#: 120 requests of 20 and 3 tokens, and what the cap's margin adds, at 1 USD a million
PRICED = {
    "t": (
        'description = "d"\nbase_url = "URL"\nmodel = "m"\n[prices]\ninput_usd_per_million ='
        ' 1\noutput_usd_per_million = 1\nas_of = 2026-11-23\nsource = "s"\n'
    ),
    "p": (
        'description = "d"\nduration = "2s"\nprompt_tokens = [{ fixed = 20 }]\noutput_tokens = [{'
        ' fixed = 3 }]\n[arrivals]\nkind = "constant"\nrate = "60/s"\n'
    ),
    "s": 'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile = "p.toml"\n',
}


def test_the_spending_cap_of_one_shard_ends_them_all(provider: ManyRunsProvider) -> None:
    """The cap is divided; the shard that comes to its part's end ends the run, for that reason, as
    a run of one process.
    """
    for name, text in PRICED.items():
        Path(f"{name}.toml").write_text(
            text.replace("URL", f"http://127.0.0.1:{provider.server_port}/v1")
        )
    cap_usd = Fraction(40 * 23, 1_000_000)
    done = conduct_on(
        "here",
        load_suite("s.toml"),
        1,
        repeat_command="tailproof run s.toml",
        screen=Heard(),
        folder=Path("r"),
        workers=2,
        caps=Caps(cap_usd),
        join=LocalCluster(EU, US).join,
    )
    run = Run(Path("r"))
    assert run.state == "complete"
    # a shard may come to the end of its own part before it is told of the other's
    reasons = {shard.ended_early for shard in run.manifest.shards}
    assert run.manifest.ended_early in reasons
    assert all(str(reason).startswith("the spending cap: ") for reason in reasons)
    assert 0 < asked(provider) <= 40 < len(run.columns)
    guards = [process.guard for process in run.manifest.harness.by_worker]
    assert [guard and guard["cap_usd"] for guard in guards] == [float(cap_usd / 2)] * 2
    assert "lost" not in " ".join(done.records.summary.health.reasons)


class Ruled(Agent):
    """Its shard ends by a rule of its own once it has begun."""

    def __init__(self, rules: Callable[[], bool]):
        super().__init__()
        self._rules, self._told = rules, False

    def report(self) -> dict[str, Any]:
        """What its process says, and once that it ended."""
        told = super().report()
        if self._rules() and not self._told:
            self._told = True
            told["said"].append({"early": "node-2 had enough"})
        return told


def test_a_rule_that_one_shard_breaks_ends_the_others_for_its_reason(
    provider: ManyRunsProvider,
) -> None:
    """One agent reports an end by rule: both processes drain and seal it as theirs, long before the
    plan's end.
    """
    agents = iter([Agent(), Ruled(lambda: asked(provider) >= 20)])
    cluster = LocalCluster(EU, US, make_agent=lambda: next(agents))
    conduct_on(
        "here",
        suite_for(provider, "--duration", "20s"),
        1,
        repeat_command="tailproof run",
        screen=Heard(),
        folder=Path("r"),
        workers=2,
        join=cluster.join,
    )
    run = Run(Path("r"))
    assert (run.state, run.manifest.ended_early) == ("complete", "node-2 had enough")
    assert [shard.ended_early for shard in run.manifest.shards] == ["node-2 had enough"] * 2
    assert asked(provider) < len(run.columns)
    assert rows_that(run, Outcome.ok) == set(provider.asked_of(run))


def test_what_the_folder_keeps_of_the_plan_is_collected_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing came of two nodes: the census of the suite's own logs is written all the same, and
    the node that the run was to leave out is left out.
    """
    monkeypatch.chdir(tmp_path)
    target = "http://127.0.0.1:1/v1"
    flags = run_flags("--url", target, "--model", "m", "--request-rate", "10", "--duration", "1s")
    months = load_suite("field-guide").months
    plan = compile_plan(suite_of(flags).model_copy(update={"months": months}), 1)
    shards = [
        ShardRecord(number=number, of=2, place=PlaceRecord(node=f"node-{number}"))
        for number in (1, 2)
    ]
    facts = plan_facts(plan, "r", wall_ns()).replace(
        inputs=[],
        cluster={
            "address": "here",
            "shared": False,
            "leave_out": ["node-2"],
            "seats": [shard.to_json() | {"node_id": "id", "folder": ""} for shard in shards],
        },
    )
    RunWriter(Path("r"), facts, plan.schedule, plan_file(plan, RunOptions())).let_go()
    assert collect(Path("r"), None).exit_code == ExitCode.INTERRUPTED
    run = Run(Path("r"))
    assert rows_that(run, Outcome.never_sent) == set(range(len(plan.schedule)))
    assert {run.strings("note")[note] for note in run.columns.samples["note"]} == {
        "shard 1 of 2 was not given",
        "shard 2 of 2 was not given",
    }
    assert run.manifest.left_out_nodes == ["node-2"]
    found = Months.model_validate_json(Path("r/census.json").read_bytes())
    assert [*found.months] == [file.stem for _, file in months]
