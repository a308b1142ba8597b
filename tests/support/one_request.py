"""Requests as a lane sends them, without a run around them: bodies and readers of the target's API,
on real sockets.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from bench.api.cause import Cause
from bench.load.endpoint import body_format
from bench.load.request import Request
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader
from bench.plan.target import Target
from bench.record.samples import Outcome
from tests.support.heard import on_loop
from tests.support.patience import PATIENCE_S


class Ended(NamedTuple):
    """A request and how it ended; without an outcome where it had not ended in time."""

    request: Request
    outcome: Outcome | None
    cause: Cause | None

    @property
    def end(self) -> tuple[str, str]:
        """Outcome and cause by name, "" for none."""
        return (self.outcome.name if self.outcome else "", self.cause.value if self.cause else "")

    @property
    def tier(self) -> str | None:
        """The tier that answered, as a row of the samples has it."""
        return (self.request.answer and self.request.answer.tier) or self.request.served_tier


def requested(
    targets: Sequence[Target], prompt: bytes, tokens: int, *, patience_s: float = PATIENCE_S
) -> list[Ended]:
    """One request to each of the targets, all at once."""

    async def main() -> list[Ended]:
        return await asyncio.gather(
            *(_requested(target, prompt, tokens, patience_s) for target in targets)
        )

    return on_loop("asyncio", main)


async def _requested(target: Target, prompt: bytes, tokens: int, patience_s: float) -> Ended:
    over: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
    request = Request(
        0,
        None,
        0,
        target.stream,
        array("q"),
        lambda _, outcome, note: over.set_result((outcome, note)),
    )
    request.api = target.spoken
    body = body_format(target).write([prompt], tokens)
    sender = make_sender(target, StampedReader())
    try:
        sender.start(body, "id-1", request, lambda _handle: True)
        outcome, note = await asyncio.wait_for(asyncio.shield(over), patience_s)
    except TimeoutError:
        return Ended(request, None, None)
    finally:
        await sender.close()
    cause = None if outcome is Outcome.ok else request.cause(outcome, note)
    return Ended(request, outcome, cause)
