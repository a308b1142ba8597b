"""The buyer's own mistakes, which are nobody's breach: a wrong key, model, body or URL, and a key
that expired.

In: a run. Out: what was refused, in the server's words, with what to mend; the rows of a key that
expired. Must stay true: a lane of which anything was served was addressed rightly, so refusals of
its requests are the contract's affair; after something was served a 401 is the key's; what nobody
served is judged by no contract.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.api.cause import Cause
from bench.judge.reached import came_to
from bench.record.records.manifest import LaneRecord
from bench.record.run_folder import Run
from bench.record.samples import (
    CAUSES,
    FIRST_REFUSED,
    OURS_TO_MEND,
    Bool,
    Columns,
    Outcome,
    end_ns,
)

_KEY = "--api-key-env, or api_key_env of the target"
#: Refused so, and it is certain what to mend; else the message has to say.
_MEND = {
    401: f"check the key: {_KEY}",
    403: f"check the key and what it may do: {_KEY}",
    404: "check --model and --url (model and base_url of the target)",
    405: "check --url and --api (base_url and api of the target)",
}
_MEND_OTHERS = "the body is refused: check --model, --extra-body and --api"
_OF_OURS = [CAUSES.index(cause) for cause in OURS_TO_MEND]


@dataclass(frozen=True)
class Mistake:
    """What of a lane was refused, and why that is ours."""

    lane: str
    #: requests that were refused so, of those that were answered or ended
    refused: int
    of: int
    #: HTTP status and the server's own words
    words: str
    remedy: str
    #: served before, and not any more: a key that expired and was not renewed
    expired: bool = False

    @property
    def text(self) -> str:
        """One sentence."""
        if self.expired:
            return (
                f"{self.lane}: the key was refused from some moment on and not renewed"
                f" ({self.words}): {self.refused:,} requests are ours, not the provider's"
            )
        return (
            f"{self.lane}: {self.refused:,} of {self.of:,} requests were refused alike and none was"
            f" served ({self.words}): ours to mend, nobody's breach; {self.remedy}"
        )


def mistakes_of(run: Run) -> list[Mistake]:
    """Of each lane at most one; none of a lane that was computed by the simulator."""
    found = []
    rows = came_to(run)
    for index, lane in enumerate(run.lanes):
        if lane.simulated:
            continue
        columns = rows.lane(index)
        mistake = _never_served(run, lane, columns) or _expired(run, lane, columns)
        if mistake is not None:
            found.append(mistake)
    return found


def key_refused(columns: Columns) -> Bool:
    """Rows of a lane that were refused for the key after something had been served."""
    samples = columns.samples
    served = end_ns(samples)[samples["outcome"] == Outcome.ok]
    refused: Bool = (samples["cause"] == CAUSES.index(Cause.auth)) & (samples["status"] == 401)
    if not len(served):
        return refused & False
    refused &= samples["done_ns"] > served.min()
    return refused


def refused_alike(columns: Columns) -> Bool | None:
    """The rows of a lane that were refused for what the buyer sent, where nothing was served and
    nearly all were refused so; None where they do not say that.
    """
    samples = columns.samples
    outcome = samples["outcome"]
    ended = _ended(columns)
    if (outcome == Outcome.ok).any() or not ended.any():
        return None
    ours = ended & (outcome == Outcome.http_4xx) & np.isin(samples["cause"], _OF_OURS)
    if not ours.any():
        return None
    status = int(np.bincount(samples["status"][ours]).argmax())
    alike: Bool = ours & (samples["status"] == status)
    refused, of = int(alike.sum()), int(ended.sum())
    if refused < min(FIRST_REFUSED, of) or refused * 10 < of * 9:
        return None
    return alike


def _ended(columns: Columns) -> Bool:
    samples = columns.samples
    ended: Bool = (samples["sent_ns"] >= 0) & (samples["outcome"] != Outcome.censored)
    return ended


def _never_served(run: Run, lane: LaneRecord, columns: Columns) -> Mistake | None:
    alike = refused_alike(columns)
    if alike is None:
        return None
    status = int(columns.samples["status"][alike][0])
    return Mistake(
        lane.name,
        int(alike.sum()),
        int(_ended(columns).sum()),
        _words(run, columns, alike),
        _MEND.get(status, _MEND_OTHERS),
    )


def _expired(run: Run, lane: LaneRecord, columns: Columns) -> Mistake | None:
    refused = key_refused(columns)
    if not refused.any():
        return None
    samples = columns.samples
    served = samples["outcome"] == Outcome.ok
    if end_ns(samples)[served].max() > samples["done_ns"][refused].max():
        return None
    ended = int((samples["done_ns"] >= 0).sum())
    return Mistake(
        lane.name,
        int(refused.sum()),
        ended,
        _words(run, columns, refused),
        "give a key that outlives the run, or api_key_command, which is asked again",
        expired=True,
    )


def _words(run: Run, columns: Columns, alike: Bool) -> str:
    numbers = columns.samples["note"][alike]
    known = numbers[numbers >= 0]
    texts = run.strings("note")
    if not len(known):
        return f"HTTP {int(columns.samples['status'][alike][0])}"
    return texts[int(np.bincount(known).argmax())]
