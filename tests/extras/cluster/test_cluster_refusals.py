"""What no run on a cluster begins with: refused in one sentence, before anything is sent, with
nothing left on any node.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.clock import wall_ns
from bench.errors import RunFolderError, TailproofError, TargetUnreachable, UserError
from bench.extras.cluster.agent import Agent
from bench.plan.suite import Suite, load_suite
from bench.units import S
from tests.support.local_cluster import (
    EU,
    US,
    Heard,
    LocalAgent,
    LocalCluster,
    ManyRunsProvider,
    asked,
    conduct_on,
    left_in,
    serving,
    suite_for,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManyRunsProvider]:
    """A server that must be asked nothing; nodes keep what they have in `nodes`."""
    with serving(tmp_path, monkeypatch) as server:
        yield server
    assert asked(server) == 0
    assert left_in(Path("nodes")) == []


def play(suite: Suite, cluster: LocalCluster | None = None, **how: Any) -> None:
    """A run that should not begin; its processes are let go."""
    cluster = cluster or LocalCluster(EU, US)
    conduct_on(
        "here",
        suite,
        1,
        repeat_command="tailproof run",
        screen=Heard(),
        join=cluster.join,
        **{"workers": 2, "folder": Path("r"), **how},
    )


class Older(Agent):
    """Of another version."""

    def hello(self) -> dict[str, str]:
        """As version 0.0.1 would say it."""
        return super().hello() | {"tailproof": "0.0.1"}


class Keyless(Agent):
    """Its node lacks the variable."""

    def prepare(self, head: bytes, rows: bytes, shared: str | None, name: str) -> dict[str, Any]:
        """Without it."""
        os.environ.pop("A_KEY", None)
        return super().prepare(head, rows, shared, name)


class Elsewhere(Agent):
    """What it sees under the shared folder's name is another folder."""

    def prepare(self, head: bytes, rows: bytes, shared: str | None, name: str) -> dict[str, Any]:
        """As its node is mounted: there, and gone from where the driver looks."""
        found = super().prepare(head, rows, shared, name)
        return found | {"folder": found["folder"].replace("between", "elsewhere")}


class DeadOnceReady(LocalAgent):
    """Its node is lost between its being ready and the start."""

    def _call(self, method: str, *args: Any) -> Any:
        if method == "wall" and self.place == US:
            super()._call("remove")
            self.kill("the node died")
        return super()._call(method, *args)


def test_nodes_of_another_version_are_refused(provider: ManyRunsProvider) -> None:
    """The sentence names the node, both versions and what to do."""
    with pytest.raises(
        UserError,
        match=(
            r"node node-1: has tailproof 0\.0\.1, this machine .*; install the same on every node"
        ),
    ):
        play(suite_for(provider), LocalCluster(EU, US, make_agent=Older))


def test_a_key_that_a_node_does_not_have_is_refused(
    provider: ManyRunsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has the variable, the nodes have not: the node is named, and the variable, and no
    value.
    """
    monkeypatch.setenv("A_KEY", "sk-very-secret-value")
    with pytest.raises(UserError, match=r"node node-1: .*A_KEY") as refused:
        play(
            suite_for(provider, "--api-key-env", "A_KEY"), LocalCluster(EU, US, make_agent=Keyless)
        )
    assert "sk-very" not in str(refused.value)


def test_a_target_that_no_node_reaches_is_exit_5(provider: ManyRunsProvider) -> None:
    """Nobody listens there: the first node that says so is named."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    suite = suite_for(provider, "--url", f"http://127.0.0.1:{port}/v1")
    with pytest.raises(TargetUnreachable, match="node node-1: ") as refused:
        play(suite)
    assert refused.value.exit_code == 5


def taken(folder: Path) -> Path:
    """A folder that holds a run."""
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    return folder


def below_a_file() -> Path:
    """No folder can be made there."""
    Path("file").write_text("")
    return Path("file", "r")


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        (
            lambda: {"folder": taken(Path("r"))},
            RunFolderError,
            "r: holds a run already; choose another --out",
        ),
        (lambda: {"folder": below_a_file()}, RunFolderError, "file/r"),
        (lambda: {"start_at_ns": wall_ns() - 5 * S}, UserError, "a shard never joins late"),
        (lambda: {"start_at_ns": wall_ns() * 1000}, UserError, "is more than"),
        (
            lambda: {"workers": 3000},
            UserError,
            "--workers: .* has no request for shard .*; use fewer",
        ),
    ],
    ids=["taken", "cannot be made", "gone by", "slip", "too many"],
)
def test_what_cannot_be_is_refused_with_nothing_left(
    how: Callable[[], dict[str, Any]],
    kind: type[TailproofError],
    said: str,
    provider: ManyRunsProvider,
) -> None:
    """A folder that is taken or cannot be made, an instant gone by, more shards than sessions."""
    with pytest.raises(kind, match=said):
        play(suite_for(provider, "--duration", "2s"), **how())


def test_an_instant_that_passes_while_the_nodes_get_ready_is_refused(
    provider: ManyRunsProvider,
) -> None:
    """It was ahead when it was given; the nodes took longer: nothing is sent, and the run has no
    folder.
    """

    class Slow(Agent):
        """Ready when the instant is gone."""

        def prepare(
            self, head: bytes, rows: bytes, shared: str | None, name: str
        ) -> dict[str, Any]:
            """Later."""
            found = super().prepare(head, rows, shared, name)
            while wall_ns() < instant + 2 * S:
                pass
            return found

    instant = wall_ns() + S
    with pytest.raises(UserError, match="a shard never joins late"):
        play(suite_for(provider), LocalCluster(EU, US, make_agent=Slow), start_at_ns=instant)
    assert not Path("r").exists()


def test_a_gateway_of_our_own_is_refused(provider: ManyRunsProvider) -> None:
    """Each node would have a provider of its own."""
    with pytest.raises(UserError, match="a gateway of its own"):
        play(load_suite("provider-outage"))
    assert not Path("r").exists()


def test_a_folder_that_is_not_shared_is_refused(provider: ManyRunsProvider) -> None:
    """A node that writes where the driver does not see it would take its samples with it."""
    between = Path("between").resolve()
    with pytest.raises(
        UserError, match=r"node node-1: wrote to .*, which this machine does not see"
    ):
        play(suite_for(provider), LocalCluster(EU, US, make_agent=Elsewhere), shared=between)
    assert left_in(between) == []


def test_a_node_that_is_lost_before_the_start_is_refused(provider: ManyRunsProvider) -> None:
    """Every one is needed then: the others are let go."""
    with pytest.raises(UserError, match="node node-2: the node died"):
        play(suite_for(provider), LocalCluster(EU, US, make_remote=DeadOnceReady))
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cluster", "auto", "--shard", "1/2"], "--cluster: does not go with --shard"),
        (["--cluster", "auto", "--repeat", "2"], "--cluster: does not go with --repeat"),
        (["--cluster", "auto", "--early-stop"], "--cluster: does not go with --early-stop"),
        (
            ["--cluster", "auto", "--metrics-port", "0"],
            "--cluster: does not go with --metrics-port",
        ),
        (["--shared", "between"], "--shared: says where a cluster's nodes write; add --cluster"),
        (["--vantage", "runner-1"], "--vantage: .*; add --shard I/N"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: list[str], said: str, provider: ManyRunsProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit 2, no folder."""
    url = f"http://127.0.0.1:{provider.server_port}/v1"
    assert main(["run", "--url", url, "--model", "m", "--out", "r", *flags]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert not Path("r").exists()


def test_virtual_time_has_no_nodes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A suite that is only simulated is sent from nowhere."""
    assert main(["run", "long-tail", "--cluster", "auto", "--out", str(tmp_path / "r")]) == 2
    assert (
        "--cluster: does not go with a suite that the simulator computes" in capsys.readouterr().err
    )


def test_without_ray_the_line_that_installs_it_is_given(provider: ManyRunsProvider) -> None:
    """Where `import ray` fails: exit 2 and the pip line, and no folder."""
    stub = Path("stub", "ray")
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text('raise ImportError("not here")\n')
    url = f"http://127.0.0.1:{provider.server_port}/v1"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(stub.parent.resolve()), str(ROOT)])}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench",
            "run",
            "--url",
            url,
            "--model",
            "m",
            "--out",
            "r",
            "--cluster",
            "auto",
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 2
    assert "--cluster: needs Ray; pip install 'tailproof[cluster]'" in done.stderr
    assert not Path("r").exists()
