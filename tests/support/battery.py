"""Play faults: a lane each, all at once, two requests a lane, on real sockets; only the waiting for
timeouts is leapt over.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from bench.clock import monotonic_ns
from bench.load.alarm import Alarm
from bench.load.endpoint import BodyWriter, Endpoint, LaneState
from bench.load.generator import Generator, run_loop
from bench.load.journal import Journal
from bench.load.probe import HarnessProbe
from bench.load.request import Request
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.plan.profile import Profile
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.gather import gather_pieces
from bench.record.pieces import SegmentWriter
from bench.record.samples import Outcome, Table
from bench.units import S
from tests.support.hostile import PLAIN, STREAMED, Fault, Site, authority
from tests.support.scripted_server import PATIENCE_S
from tests.support.world import text

#: what passes at once when every open request has come as far as its fault lets it
TIMEOUT_S = 100


class Leap:
    """A clock that can be set forward, and the alarm that goes by it."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return monotonic_ns() + self.ahead_ns

    def alarm(self, callback: Callable[[], None]) -> Any:
        """An alarm that rings at instants of this clock."""
        inner, clock = Alarm(callback), self

        class Ahead:
            kind, close = inner.kind, staticmethod(inner.close)

            def set(self, at_ns: int) -> None:
                inner.set(at_ns - clock.ahead_ns)

        return Ahead()


class Mended(Endpoint):
    """An endpoint whose site is mended before any row but the first is sent."""

    def __init__(self, site: Site, *parts: Any):
        super().__init__(*parts)
        self.site, self.first = site, -1

    def send(self, request: Request, request_id: str) -> None:
        if self.first in (-1, request.row):
            self.first = request.row
        else:
            self.site.mend()
        super().send(request, request_id)


class Played(NamedTuple):
    """What became of it: fault -> its two rows, as they are on disk, and the ids of the requests
    that came whole.
    """

    rows: dict[str, Table]
    texts: dict[str, list[str]]
    seen: dict[str, list[bytes]]

    def outcomes(self, number: int) -> dict[str, str]:
        """Fault -> the class of its first (0) or second (1) request."""
        return {name: Outcome(rows["outcome"][number]).name for name, rows in self.rows.items()}


def play(
    faults: Mapping[str, Fault],
    transport: str,
    streamed: bool,
    expected: Mapping[str, Outcome | None],
) -> Played:
    """`expected` says which requests nothing but a timeout will end."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "samples").mkdir()
        authority().cert_pem.write_to_path(folder / "ca.pem")
        sites = {
            name: Site(fault, STREAMED if streamed else PLAIN) for name, fault in faults.items()
        }
        try:
            plan = _plan(list(sites.values()), transport, streamed, str(folder / "ca.pem"))
            run_loop(
                lambda: _play(
                    plan, list(sites.values()), [expected.get(name) for name in sites], folder
                )
            )
        finally:
            for site in sites.values():
                site.close()
        samples, texts = gather_pieces(folder, len(plan.schedule))
    rows = {name: samples[plan.schedule["lane"] == lane] for lane, name in enumerate(sites)}
    return Played(rows, texts, {name: _ids(site) for name, site in sites.items()})


def _plan(sites: list[Site], transport: str, streamed: bool, ca_file: str) -> Plan:
    shared = {
        "description": "d",
        "model": "m",
        "stream": streamed,
        "transport": transport,
        "ca_file": ca_file,
    }
    targets = [
        Target.model_validate(
            {
                **shared,
                "name": f"t{number}",
                "base_url": site.url,
                "timeout": f"{TIMEOUT_S}s",
                "connect_timeout": site.connect_timeout,
            }
        )
        for number, site in enumerate(sites)
    ]
    one_user = {
        "description": "d",
        "name": "p",
        "arrivals": {"kind": "closed", "concurrency": 1},
        "requests": 2,
    }
    stage = Stage(
        name="s",
        targets=targets,
        profile=Profile.model_validate(one_user),
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return compile_plan(Suite(name="battery", description="d", seed=1, stages=[stage], files=[]), 1)


def _ids(site: Site) -> list[bytes]:
    return [
        found
        for _, request in site.server.requests
        for found in re.findall(rb"(?i)\r\nx-request-id: (\S+)", request)
    ]


def _waits(request: Request, expected: Outcome | None) -> bool:
    """The answer has come as far as it will: nothing but time can end it."""
    if expected == Outcome.timeout_total:
        return request.answer is not None and request.answer.first_token_ns >= 0
    return request.sent_ns >= 0 and expected == Outcome.timeout_first


async def _play(
    plan: Plan, sites: list[Site], expected: list[Outcome | None], folder: Path
) -> None:
    clock, reader, probe = Leap(), StampedReader(), HarnessProbe()
    journal = Journal(SegmentWriter(folder), "run", len(plan.schedule), [1] * len(plan.lanes), [])
    states = [
        LaneState(
            lane,
            Mended(site, make_sender(lane.target, reader), BodyWriter(lane, plan.schedule, text())),
            None,
        )
        for lane, site in zip(plan.lanes, sites, strict=True)
    ]
    generator = Generator(
        plan.lanes, plan.schedule, states, journal, probe, clock=clock, alarm=clock.alarm
    )

    def pass_time(playing: Generator) -> None:
        busy = [lane for lane in playing.lanes if lane.in_flight]
        if (
            not clock.ahead_ns
            and busy
            and all(_waits(lane.deadlines[-1], expected[lane.index]) for lane in busy)
        ):
            clock.ahead_ns = TIMEOUT_S * S

    probe.start()
    try:
        with anyio.fail_after(2 * PATIENCE_S):
            await generator.run(pass_time)
    finally:
        probe.stop()
    await journal.flush()
