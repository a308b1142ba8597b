"""Shards as they are run: the very command of the documented Job, real processes, one agreed
instant, one of them killed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.cli import main
from bench.clock import monotonic_ns, wall_ns
from bench.record.run_folder import Run, read_manifest
from bench.record.samples import Outcome
from bench.units import S
from benchmarks.kills import kill
from tests.support.flags import run_flags
from tests.support.patience import PATIENCE_S, until
from tests.support.provider import Provider

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
#: Sharded by whole sessions, capped, with a promise that the provider keeps.
SUITE = (
    'description = "d"\n[[stage]]\nname = "one"\ntargets = ["t.toml"]\nprofile ='
    ' "load.toml"\ncontract = "c.toml"\n'
)
LOAD = (
    'description = "d"\nmax_in_flight = 30\nprompt_tokens = [{ fixed = 10 }]\noutput_tokens = [{'
    ' fixed = 3 }]\nduration = "3s"\n[arrivals]\nkind = "poisson"\nrate = "30/s"\n[sessions]\nthink'
    ' = "20ms"\n[sessions.turns]\nfixed = 2\n'
)
CONTRACT = 'title = "t"\n[[clause]]\nmetric = "e2e"\nquantile = "50%"\nlimit = "5s"\n'


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A server that counts what it is asked, and the suite that asks it, in the folder where
    commands are given.
    """
    monkeypatch.chdir(tmp_path)
    server = Provider()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    for name, text in (
        ("suite", SUITE),
        ("load", LOAD),
        ("c", CONTRACT),
        ("t", f'description = "d"\nbase_url = "{url}"\nmodel = "m"\n'),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where `tailproof` is a command, as in the image."""
    command = tmp_path / "bin" / "tailproof"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bench "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
    }


def asked(provider: Provider) -> int:
    """Requests that reached the provider."""
    return sum(len(moments) for moments in provider.asked.values())


def job() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """(spec, container, its environment) of the documented Job."""
    spec = yaml.safe_load((EXAMPLES / "indexed-job.yaml").read_text())["spec"]
    container = spec["template"]["spec"]["containers"][0]
    return spec, container, {item["name"]: item["value"] for item in container["env"]}


def test_the_documented_job_never_sends_a_part_twice_and_starts_them_all_at_once() -> None:
    """Indexed, as many at once as there are shards, no pod started again, results on a volume that
    all can write.
    """
    spec, container, env = job()
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(env["SHARDS"])
    assert spec["backoffLimitPerIndex"] == 0
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "persistentVolumeClaim" in volumes[mounts[env["RESULTS"]]]
    assert "configMap" in volumes[mounts[str(Path(env["SUITE"]).parent)]]
    assert container["resources"]["requests"]["cpu"] == container["resources"]["limits"]["cpu"]


def ns_to_begin(environment: dict[str, str]) -> int:
    """What three processes at once take on this machine, as busy as it is, to come as far as a
    plan.
    """
    began = monotonic_ns()
    plans = [
        subprocess.Popen(
            ["tailproof", "plan", "suite.toml"], env=environment, stdout=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    assert [plan.wait(PATIENCE_S) for plan in plans] == [0, 0, 0]
    return monotonic_ns() - began


@pytest.mark.timeout(4 * PATIENCE_S)
def test_the_documented_jobs_own_command_in_three_shards_is_one_run(
    provider: Provider,
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its command with each index, from one instant: each request is sent once, and merge judges,
    exits and files as run does.
    """
    container = job()[1]
    begun_ns = ns_to_begin(environment)
    # as many begin now; they may take twice as long, and a second more
    agreed = (wall_ns() + 2 * begun_ns) // S + 2
    results = tmp_path / "results"
    env = environment | {
        "SUITE": str(tmp_path / "suite.toml"),
        "RESULTS": str(results),
        "SHARDS": "3",
        "START_AT": str(agreed),
    }
    pods = [
        subprocess.Popen(
            [*container["command"], *container["args"]],
            env=env | {"JOB_COMPLETION_INDEX": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(3)
    ]
    said = [pod.communicate(timeout=2 * PATIENCE_S)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0, 0], said
    assert all(
        f"shard {number} of 3" in text and "NOT JUDGED" in text
        for number, text in enumerate(said, 1)
    )
    folders = sorted(results.iterdir())
    for number, folder in enumerate(folders, 1):
        manifest = read_manifest(folder)
        assert manifest.shard is not None
        assert (manifest.shard.number, manifest.shard.of) == (number, 3)
        assert manifest.start is not None
        assert manifest.start.agreed_wall_ns == manifest.started_wall_ns == agreed * S
        assert "--shard" not in manifest.repeat_command
        assert {"overall": "NONE", "exit_code": 0, "clauses": []}.items() <= json.loads(
            (folder / "verdicts.json").read_text()
        ).items()
    page = (folders[1] / "report.html").read_text()
    assert "This is shard 2 of 3" in page
    assert "No contract was given" not in page
    capsys.readouterr()
    code = main(["merge", *map(str, folders), "--out", "whole", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    run = Run(Path("whole"))
    assert code == document["exit_code"] == document["runs"][0]["verdicts"]["exit_code"]
    assert (
        asked(provider) == len(run.columns) == sum(len(Run(folder).columns) for folder in folders)
    )
    assert (run.columns.samples["outcome"] == Outcome.ok).all()
    assert document["runs"][0]["verdicts"]["overall"] in (
        "PASS",
        "INVALID",
    )  # INVALID: a machine too busy to send in time
    assert set(run.columns.samples["worker"].tolist()) == {0, 1, 2}
    assert main(["verify", "whole"]) == 0
    assert main(["judge", "whole"]) == code
    assert main(["export", "whole", "--format", "csv", "--out", "rows.csv"]) == 0
    assert main(["judge", str(folders[0]), "--slo", "e2e:p50<5s"]) == 2
    assert "is shard 1 of 3" in capsys.readouterr().err


def shard(number: int, of: int, *more: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """One shard of the suite, two workers each."""
    command = [
        "tailproof",
        "run",
        "suite.toml",
        "--shard",
        f"{number}/{of}",
        "--out",
        f"s{number}",
        "--quiet",
        "--workers",
        "2",
        *more,
    ]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_shard_that_is_killed_leaves_a_whole_and_honest_report(
    provider: Provider, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every planned row has one outcome, what the killed shard's disk held is kept, the rest says
    why, and the exit is 4.
    """
    one, two = (shard(number, 2, environment=environment) for number in (1, 2))
    with one, two:
        until(lambda: len(list(Path("s2/samples").glob("w?-0*.npy"))) >= 2)
        kill(two, Path("s2"))
        assert one.wait(PATIENCE_S) == 0
    assert main(["resume", "s2"]) == 2
    assert "the other shards would not send again" in capsys.readouterr().err
    held = Run(Path("s2"))
    assert main(["merge", "s2", "s1", "--out", "whole"]) == 4
    assert "Shard 2 of 2 ended before its plan" in " ".join(capsys.readouterr().out.split())
    run = Run(Path("whole"))
    samples, theirs = run.columns.samples, run.columns.schedule["session"] % 2 == 1
    assert (samples["outcome"][~theirs] == Outcome.ok).all()
    kept = np.count_nonzero(held.columns.samples["outcome"] == Outcome.ok)
    assert (
        0
        < kept
        == np.count_nonzero(samples["outcome"][theirs] == Outcome.ok)
        < np.count_nonzero(theirs)
    )
    rest = samples[theirs & (samples["outcome"] == Outcome.never_sent)]
    assert {run.strings("note")[number] for number in rest["note"]} == {
        "shard 2 of 2 ended before this row"
    }
    assert asked(provider) <= len(samples)
    assert main(["verify", "whole"]) == 0


def test_ctrl_c_while_a_shard_waits_for_its_instant_leaves_an_interrupted_shard(
    provider: Provider, environment: dict[str, str]
) -> None:
    """Nothing is sent, the exit is 130, and the folder can be merged."""
    waiting = shard(1, 1, "--start-at", str(wall_ns() // S + 600), environment=environment)
    with waiting:
        until(Path("s1/run.json").is_file)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(PATIENCE_S) == 130
    assert asked(provider) == 0
    assert Run(Path("s1")).state == "interrupted"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shard", "3/2"], "is not a shard"),
        (["--shard", "1/2", "--repeat", "2"], "--repeat"),
        (["--shard", "1/2", "--early-stop"], "--early-stop"),
        (["--start-at", "1000"], "ago"),
        (["--start-at", "tomorrow"], "not an instant"),
        (["--shard", "1/16", "--workers", "2"], "cannot divide 30 requests in flight"),
    ],
)
def test_what_no_shard_can_do_is_refused_before_anything_is_sent(
    provider: Provider, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit 2, no folder."""
    assert main(["run", "suite.toml", "--out", "r", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not Path("r").exists()
    assert asked(provider) == 0


def test_the_embedded_gateway_is_not_sharded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each shard would have a provider of its own."""
    assert main(["run", "provider-outage", "--shard", "1/2", "--out", str(tmp_path / "r")]) == 2
    assert "a gateway of its own" in capsys.readouterr().err


def test_virtual_time_begins_at_no_instant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A suite that is only simulated has no moment to wait for."""
    words = ["run", "long-tail", "--start-at", "2999-01-01T00:00:00Z", "--out", str(tmp_path / "r")]
    assert main(words) == 2
    assert (
        "--start-at: does not go with a suite that the simulator computes"
        in capsys.readouterr().err
    )


def test_the_documented_matrix_plays_every_shard_and_merges_whatever_came() -> None:
    """As many jobs as shards, none stopped by another's failure, one instant for all, flags that
    `run` and `merge` have.
    """
    jobs = yaml.safe_load((EXAMPLES / "ci-matrix.yml").read_text())["jobs"]
    strategy = jobs["shard"]["strategy"]
    numbers = strategy["matrix"]["shard"]
    play = next(
        step["run"] for step in jobs["shard"]["steps"] if "tailproof run" in step.get("run", "")
    )
    assert strategy["fail-fast"] is False
    assert strategy["max-parallel"] == len(numbers)
    for number in numbers:
        words = shlex.split(
            re.sub(
                r"\$\{\{ needs.*? \}\}",
                "1800000000",
                play.replace("${{ matrix.shard }}", str(number)),
            )
        )
        flags = run_flags(*words[2:])
        assert (flags.shard, flags.start_at) == (f"{number}/{len(numbers)}", "1800000000")
    assert numbers == list(range(1, len(numbers) + 1))
    assert jobs["verdict"]["if"] == "always()"
    assert any(
        step.get("run", "").startswith("tailproof merge shards/* --out whole")
        for step in jobs["verdict"]["steps"]
    )
