"""A Ray cluster on this machine: nodes that are started, killed as by a power cut, and put into
network namespaces.

In: names and regions. Out: an address, and processes that end with ours. Must stay true: nothing is
ended that was not started here (each node's processes carry its mark); a namespace and its wires go
with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.clock import monotonic_ns, sleep_s
from bench.units import S

_MARK = "TAILPROOF_RAY_NODE"


class RayNode:
    """One node of so many cores; the first is the head."""

    def __init__(
        self,
        name: str,
        region: str,
        head: str | None,
        *,
        cores: int = 1,
        place: Path,
        inside: Sequence[str] = (),
        ip: str | None = None,
    ):
        """`head`: the address to join, None to be it; `inside`: what a command is started with to
        be in a namespace.
        """
        self.mark, self.place = uuid.uuid4().hex, place
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = head or f"{ip or '127.0.0.1'}:{port}"
        labels = f"ray.io/region={region},tailproof.io/node={name}"
        words = (
            ["--head", f"--port={port}", "--include-dashboard=false"]
            if head is None
            else [f"--address={head}"]
        )
        words += [f"--node-ip-address={ip}"] if ip else []
        command = [
            *inside,
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            *words,
            f"--num-cpus={cores}",
            f"--labels={labels}",
            f"--temp-dir={place}",
            "--disable-usage-stats",
            "--object-store-memory=100000000",
        ]
        if head is not None:  # the head's for all
            command = [word for word in command if not word.startswith("--temp-dir")]
        self._log = (place.parent / f"{name}-{self.mark[:6]}.log").open("w+")
        environment = {
            **os.environ,
            _MARK: self.mark,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONWARNINGS": "ignore",
        }
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = monotonic_ns() + 120 * S
        while "Ray runtime started" not in self.said():
            if self._process.poll() is not None or monotonic_ns() > deadline:
                self.kill()
                raise RuntimeError(f"{name} did not start:\n{self.said()[-2000:]}")
            sleep_s(0.1)

    def said(self) -> str:
        """What `ray start` said so far."""
        return Path(self._log.name).read_text()

    def processes(self) -> list[int]:
        """Every process of the node, the senders that are nobody's child among them."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{_MARK}={self.mark}".encode() in (place / "environ").read_bytes():
                    found.append(int(place.name))
        return found

    def kill(self) -> None:
        """A power cut."""
        while alive := [pid for pid in self.processes() if pid != os.getpid()]:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
            sleep_s(0.05)
        self._process.wait()
        self._log.close()


@contextlib.contextmanager
def two_nodes(place: Path) -> Iterator[tuple[RayNode, list[RayNode]]]:
    """(the head, a list with the other node, which may be replaced); a core each.

    Their files lie in `place`.
    """
    head = RayNode("near", "eu", None, place=place / "ray")
    others: list[RayNode] = []
    try:
        others.append(RayNode("far", "us", head.address, place=place / "ray"))
        yield head, others
    finally:
        for node in (*others, head):
            node.kill()


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[list[str], str, list[str], str]]:
    """Two network namespaces and a wire: (command prefix, address) of each.

    Needs root and iproute2.
    """
    names = [f"tp{os.getpid() % 10000}{letter}" for letter in "ab"]
    wires = [f"{name}w" for name in names]
    addresses = ["10.77.0.1", "10.77.0.2"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", wires[0], "type", "veth", "peer", "name", wires[1])
        for name, wire, address in zip(names, wires, addresses, strict=True):
            ip("link", "set", wire, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", wire)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", wire, "up")
        first, second = (["ip", "netns", "exec", name] for name in names)
        yield first, addresses[0], second, addresses[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
