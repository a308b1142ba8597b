"""What a cluster costs, and what it survives: `python -m benchmarks.cluster [--start-up]
[--overhead] [--kills N] [--hosts]`.

In: two Ray nodes on this machine, a core each. Out: figures. Needs tailproof[cluster-test]; --hosts
also root and iproute2. Must stay true: what is compared runs in turns in one sitting; whether a run
is honest is held against what the server did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.clock import monotonic_ns, sleep_s
from bench.load.calibrate import _three, _truth
from bench.record.parts import Share
from bench.record.run_folder import Run
from bench.record.samples import Outcome, latency_ns
from bench.units import S
from benchmarks.ray_nodes import RayNode, two_hosts, two_nodes
from tests.support.flags import small_requests
from tests.support.provider import Provider

#: What was answered longer before a node's death than this must be on record: sealed twice, asked
#: for four times a second.
LOSS_NS = 2 * S


#: Tokens in and out of a request to the null server, which answers with four.
NULL_SERVER_SIZES = ("--isl", "64", "--osl", "4")


def on_cluster(address: str, out: Path) -> list[str]:
    """Flags of a run of two processes on a cluster."""
    return ["--cluster", address, "--workers", "2", "--out", str(out)]


def tailproof(*words: str, inside: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A command of ours."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [*inside, sys.executable, "-m", "bench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def run(*words: str, inside: Sequence[str] = ()) -> tuple[int, str]:
    """(exit code, output) of `tailproof run`."""
    process = tailproof("run", "--quiet", *words, inside=inside)
    output = process.communicate()[0]
    return process.returncode, output


# ---- start-up


def start_up(address: str, place: Path) -> None:
    """From the command to the first request, and its parts that are ours to choose."""
    for number in range(3):
        provider = Provider()
        begun = monotonic_ns()
        load = ("--arrival", "constant", "--rate", "20", "--duration", "2s")
        code, output = run(
            *small_requests(provider.server_port, *load),
            *on_cluster(address, place / f"start-{number}"),
        )
        first = min(moment for moments in provider.asked.values() for moment in moments)
        print(
            f"start-up: {(first - begun) / S:.1f} s from the command to the first request (exit"
            f" {code}){'' if code == 0 else output}",
            flush=True,
        )
        provider.shutdown()


# ---- overhead


def null_server(*words: str, inside: Sequence[str] = ()) -> tuple[subprocess.Popen[bytes], int]:
    """A server that answers after set times and tells what it really did."""
    process = subprocess.Popen(
        [*inside, sys.executable, "-m", "bench.load.nullserver", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, int(json.loads(process.stdout.readline())["port"])


def overhead(address: str, place: Path, turns: int, rate: int) -> None:
    """A closed loop's rate and an open loop's error at p99, by two plain workers and by two on the
    cluster, in turns.
    """
    server, port = null_server("--ttft-ms", "5", "--sigma", "0.3", "--gap-ms", "1", "--tokens", "4")
    target = small_requests(port, *NULL_SERVER_SIZES)
    ways = {"plain": ["--workers", "2"], "cluster": ["--workers", "2", "--cluster", address]}
    closed: dict[str, list[float]] = {way: [] for way in ways}
    errors: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns):
        for way, words in ways.items():
            out = place / f"closed-{way}-{turn}"
            run(*target, *words, "--concurrency", "16", "--duration", "8s", "--out", str(out))
            closed[way].append(
                json.loads((out / "summary.json").read_text())["targets"]["target"]["ok"] / 8
            )
            out, known = place / f"open-{way}-{turn}", len(_truth(port, 0))
            run(*target, *words, "--rate", str(rate), "--duration", "10s", "--out", str(out))
            truth = np.array(
                [
                    (last - received, first - received)
                    for _, received, first, last in _truth(port, known)
                ]
            )
            found = Run(out).columns
            e2e = latency_ns(found.where(found.ok).samples, "e2e", "service")
            errors[way].append(_three(e2e)[1] - _three(truth[:, 0])[1])
            sent = json.loads((out / "summary.json").read_text())["targets"]["target"]["sent_rps"]
            print(
                f"turn {turn + 1} {way:8} closed loop {closed[way][-1]:7.1f}/s; open loop"
                f" {sent:6.1f}/s sent, p99 error {errors[way][-1]:+.3f} ms",
                flush=True,
            )
    assert server.stdin is not None
    server.stdin.close()
    server.wait(5)
    ratios = [
        ours / theirs for ours, theirs in zip(closed["cluster"], closed["plain"], strict=True)
    ]
    apart = [ours - theirs for ours, theirs in zip(errors["cluster"], errors["plain"], strict=True)]
    print(
        f"rate, cluster / plain: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to"
        f" {max(ratios):.3f})"
    )
    print(
        f"p99 error, cluster - plain: median {statistics.median(apart):+.3f} ms ({min(apart):+.3f}"
        f" to {max(apart):+.3f})",
        flush=True,
    )


# ---- kills


class Keeper(Provider):
    """Writes requests down by (run, row): shards number their rows anew."""

    def row_of(self, request_id: str) -> tuple[str, int]:
        """The run and the row in it."""
        name, _, row = request_id.rpartition("-")
        return name, int(row)


def honest(folder: Path, provider: Provider, killed_ns: int, code: int, output: str) -> list[str]:
    """What is wrong with the record of a run that lost a node."""
    if code != 4:
        return [f"exit {code}: {output[-500:]}"]
    found = Run(folder)
    samples, schedule, shards = (
        found.columns.samples,
        found.columns.schedule,
        found.manifest.shards,
    )
    wrong = []
    if int((samples["outcome"] == Outcome.ok).sum()) > len(provider.answered):
        wrong.append("more rows are ok than were answered")
    for shard in shards:
        mine = np.flatnonzero(Share(shard=shard.number - 1, shards=shard.of).rows(schedule))
        ok = samples["outcome"][mine] == Outcome.ok
        lost = shard.lost
        if lost is None and not ok.all():
            wrong.append(f"{(~ok).sum()} rows of the living node are not ok")
        if lost is not None:
            early = [
                row
                for (run_id, row), moment in provider.answered.items()
                if run_id == shard.run and moment < killed_ns - LOSS_NS
            ]
            gone = [row for row in early if not ok[row]]
            if gone:
                wrong.append(
                    f"{len(gone)} rows that were answered {LOSS_NS // S} s before the kill are not"
                    " on record"
                )
            states = {Outcome(value).name for value in np.unique(samples["outcome"][mine])} - {
                "ok",
                "never_sent",
                "censored",
            }
            if states:
                wrong.append(f"rows of the lost node ended as {states}")
            node = shard.place.node if shard.place else ""
            if not any(node in reason for reason in reasons(folder)):
                wrong.append("health does not name the node")
    if not any(shard.lost for shard in shards):
        wrong.append("no shard was lost")
    for command in (["report", str(folder)], ["verify", str(folder)]):
        process = tailproof(*command)
        said = process.communicate()[0]
        if process.returncode not in (0, 4):
            wrong.append(f"{command[0]}: exit {process.returncode}: {said[-300:]}")
    return wrong


def reasons(folder: Path) -> list[str]:
    """What health says."""
    found: list[str] = json.loads((folder / "summary.json").read_text())["health"]["reasons"]
    return found


def kills(head: RayNode, others: list[RayNode], place: Path, times: int, seed: int) -> int:
    """Kill one of two nodes in the middle of a run, so often; how many left a complete and honest
    report.
    """
    good = 0
    for number in range(times):
        draw = random.Random(f"{seed}-{number}")
        provider, folder = Keeper(), place / f"kill-{number}"
        load = ("--rate", "50", "--duration", "8s", "--slo", "e2e:p90<500ms")
        process = tailproof(
            "run",
            "--quiet",
            *small_requests(provider.server_port, *load),
            *on_cluster(head.address, folder),
        )
        while not provider.asked and process.poll() is None:
            sleep_s(0.01)
        sleep_s(draw.uniform(0.0, 7.0))
        killed_ns = monotonic_ns()
        others[0].kill()
        output = process.communicate()[0]
        wrong = honest(folder, provider, killed_ns, process.returncode, output)
        good += not wrong
        print(
            f"kill {number + 1}: {'; '.join(wrong) or 'honest'} ({len(provider.answered)}"
            " answered)",
            flush=True,
        )
        provider.shutdown()
        provider.server_close()
        others[0] = RayNode("far", "us", head.address, place=place / "ray")
    print(f"complete and honest: {good}/{times}", flush=True)
    return times - good


# ---- two hosts


def hosts(place: Path) -> int:
    """The same plan from one host and from two that a wire joins: the verdicts must agree."""
    results: dict[str, dict[str, Any]] = {}
    with two_hosts() as (first, first_ip, second, second_ip):
        server, port = null_server(
            "--ttft-ms",
            "1000",
            "--sigma",
            "0.3",
            "--gap-ms",
            "1",
            "--tokens",
            "4",
            "--host",
            first_ip,
            inside=first,
        )
        head = RayNode(
            "one", "here", None, cores=2, place=place / "hosts", inside=first, ip=first_ip
        )
        nodes = [head]
        promises = [f"--slo={clause}" for clause in ("e2e:p90<3s", "e2e:p90<700ms", "uptime>=99%")]
        load = ("--rate", "100", "--duration", "20s", "--yes", *promises)
        words = small_requests(port, *NULL_SERVER_SIZES, *load, host=first_ip)
        try:
            for name in ("one host", "two hosts"):
                if name == "two hosts":
                    nodes.append(
                        RayNode(
                            "two",
                            "there",
                            head.address,
                            cores=2,
                            place=place / "hosts",
                            inside=second,
                            ip=second_ip,
                        )
                    )
                out = place / name.replace(" ", "-")
                code, output = run(*words, *on_cluster(head.address, out), inside=first)
                if code not in (0, 1, 3):
                    print(output)
                verdicts = json.loads((out / "verdicts.json").read_text())
                manifest = json.loads((out / "run.json").read_text())
                results[name] = {
                    "exit": code,
                    "verdicts": [clause["verdict"] for clause in verdicts["clauses"]],
                }
                places = [
                    f"{shard['place']['node']} {shard.get('clock')}" for shard in manifest["shards"]
                ]
                p99 = json.loads((out / "summary.json").read_text())["targets"]["target"][
                    "service_ms"
                ]["e2e"]["p99"]
                print(
                    f"{name}: {results[name]}, service e2e p99 {p99:.2f} ms; {'; '.join(places)}",
                    flush=True,
                )
        finally:
            for node in reversed(nodes):
                node.kill()
            assert server.stdin is not None
            server.stdin.close()
            server.wait(5)
    same = results["one host"] == results["two hosts"] and results["one host"]["exit"] != 4
    print(f"the verdicts {'agree' if same else 'DIFFER, or the harness was not fit to judge'}")
    return int(not same)


def main() -> int:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start-up", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hosts", action="store_true")
    wanted = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        if wanted.start_up or wanted.overhead or wanted.kills:
            with two_nodes(place) as (head, others):
                if wanted.start_up:
                    start_up(head.address, place)
                if wanted.overhead:
                    overhead(head.address, place, wanted.turns, wanted.rate)
                if wanted.kills:
                    wrong += kills(head, others, place, wanted.kills, wanted.seed)
        if wanted.hosts:
            wrong += hosts(place)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
