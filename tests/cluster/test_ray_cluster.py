"""`tailproof run --cluster` on two real Ray nodes: whole, with a node that dies, with a driver that
dies, and refused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.clock import monotonic_ns
from bench.plan.schedule import compile_plan
from bench.record.run_folder import Run, read_manifest
from bench.record.samples import Outcome
from benchmarks.cluster import honest, on_cluster, tailproof
from benchmarks.ray_nodes import RayNode
from tests.support.flags import run_flags, small_requests
from tests.support.patience import until
from tests.support.provider import Provider

#: Ray starts a process of its own for each agent.
STARTED_S = 90.0


def asked_for(provider: Provider, seconds: int) -> list[str]:
    """The flags of 40 requests/s to the provider."""
    return small_requests(
        provider.server_port,
        *("--request-rate", "40", "--duration", f"{seconds}s", "--slo", "e2e:p50<5s"),
    )


def begin(
    provider: Provider, cluster: str, out: Path, *words: str, seconds: int = 5
) -> subprocess.Popen[str]:
    """A run of 40 requests/s in two processes on the cluster."""
    return tailproof(
        "run",
        "--quiet",
        *asked_for(provider, seconds),
        *on_cluster(cluster, out),
        *words,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit code, output); one that does not end is ended."""
    try:
        output = process.communicate(timeout=150)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shared", [False, True])
def test_a_suite_on_two_nodes_is_the_suite(
    provider: Provider, cluster: str, tmp_path: Path, *, shared: bool
) -> None:
    """Each planned row is asked for once, from a node and a region by Ray's labels, whose clocks
    are ours; nothing is left lying about.
    """
    out, lake = tmp_path / "run", tmp_path / "lake"
    code, output = ended(
        begin(provider, cluster, out, *(["--shared", str(lake)] if shared else []))
    )
    assert code == 0, output
    run = Run(out)
    assert (run.columns.samples["outcome"] == Outcome.ok).all()
    assert len(provider.asked) == len(run.columns)
    assert {len(moments) for moments in provider.asked.values()} == {1}
    plan = compile_plan_of(provider)
    assert run.columns.schedule["due_ns"].tolist() == plan["due_ns"].tolist()
    shards = run.manifest.shards
    places = [shard.place and (shard.place.node, shard.place.region) for shard in shards]
    assert sorted(places, key=str) == [("far", "us"), ("near", "eu")]
    for shard in shards:
        assert shard.clock is not None
        assert abs(shard.clock.offset_ms) <= shard.clock.bound_ms
    assert not (out / "shards").exists()
    assert run.manifest.cluster is None
    assert not lake.exists() or not list(lake.iterdir())
    assert "near" in output
    assert "far" in output


def compile_plan_of(provider: Provider) -> Any:
    """The schedule of `begin`, planned here."""
    from bench.cli.run import suite_of

    flags = run_flags(*asked_for(provider, 5))
    return compile_plan(suite_of(flags), 1).schedule


@pytest.mark.timeout(240)
def test_a_node_that_dies_leaves_an_honest_report(
    provider: Provider, cluster: str, nodes: tuple[RayNode, list[RayNode]], tmp_path: Path
) -> None:
    """Every process of one node is killed: what it answered up to 2 s before is on record, the rest
    is never sent, the run is INVALID.
    """
    process = begin(provider, cluster, tmp_path / "run", seconds=12)
    until(lambda: len(provider.answered) > 200, STARTED_S)
    killed_ns = monotonic_ns()
    nodes[1][0].kill()
    code, output = ended(process)
    assert honest(tmp_path / "run", provider, killed_ns, code, output) == []
    assert "was lost" in output


@pytest.mark.timeout(240)
def test_a_driver_that_dies_leaves_shards_that_stop_and_can_be_collected(
    provider: Provider, cluster: str, tmp_path: Path
) -> None:
    """Nothing more is sent, what was answered is sealed on the nodes; `collect` brings all of it,
    ends the run and leaves nothing there.
    """
    out = tmp_path / "run"
    process = begin(provider, cluster, out, seconds=60)
    until(lambda: len(provider.answered) > 60, STARTED_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not senders(), STARTED_S)
    asked = len(provider.asked)
    lying = read_manifest(out).cluster
    assert lying is not None
    folders = [Path(shard.folder) for shard in lying.shards]
    collector = tailproof("collect", str(out))
    code, output = ended(collector)
    assert code == 130, output
    samples = Run(out).columns.samples
    assert int((samples["outcome"] == Outcome.ok).sum()) == len(provider.answered)
    assert len(provider.asked) == asked
    assert not any(folder.exists() for folder in folders)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["state"] == "interrupted"
    assert np.unique(samples["outcome"][samples["sent_ns"] >= 0]).tolist() == [Outcome.ok]


def senders() -> list[int]:
    """Processes that send a slice."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"bench.extras.cluster.slice" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(240)
def test_what_a_cluster_cannot_do_is_refused_before_anything_is_sent(
    provider: Provider, cluster: str, tmp_path: Path
) -> None:
    """More processes than cores, an address where no cluster is, a name that no node has: a
    sentence and exit 2.
    """
    code, output = ended(begin(provider, cluster, tmp_path / "many", "--workers", "3"))
    assert (code, "3 processes need 3 cores, the cluster has 2 free" in output) == (2, True), output
    code, output = ended(begin(provider, cluster, tmp_path / "unknown", "--leave-out", "nowhere"))
    assert (code, "'nowhere' is no node of" in output) == (2, True), output
    code, output = ended(begin(provider, "127.0.0.1:9", tmp_path / "none"))
    assert (code, "no Ray cluster answers at 127.0.0.1:9" in output) == (2, True), output
    assert not provider.asked
