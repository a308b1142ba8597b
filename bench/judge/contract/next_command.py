"""The command that would decide what a run left open.

In: a run's manifest, how many times its length a clause needs. Out: a command line that runs as it
stands, or None. Must stay true: it is the run's own command with another size, so it asks the same
targets for the same contract; a secret that the run's record left out is not made up; nobody's cap
on money is raised.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from fractions import Fraction

from bench.plan.arrival_laws import MAX_ROWS
from bench.plan.budget import REMOTE_REQUESTS, leads_elsewhere
from bench.plan.credentials import REDACTED
from bench.plan.profile import MADE_OF_FLAGS
from bench.plan.target import EMBEDDED
from bench.record.records.manifest import LaneRecord, Manifest
from bench.record.records.verdicts import ClauseVerdict
from bench.units import parse_times

#: Flags that say how much is sent; --quick alone has no value.
_SIZES = ("--duration", "--request-count", "--size-for", "--stretch", "--quick")
#: How far a longer plan may be from its share of a shorter one.
_DRAWN_ANEW = Fraction(11, 10)


def deciding_command(manifest: Manifest, times: Fraction) -> str | None:
    """The command of a run `times` as long; None where no single command sent this run, or where
    none can send so much.
    """
    try:
        words = shlex.split(manifest.repeat_command)
    except ValueError:  # of a record that somebody changed
        return None
    whole = manifest.shard is None and not manifest.shards and manifest.watch is None
    if words[:2] != ["tailproof", "run"] or not whole or REDACTED in manifest.repeat_command:
        return None
    planned = sum(lane.requests for lane in manifest.lanes)
    total = math.ceil(planned * times)
    if total > MAX_ROWS:
        return None
    kept = list(_without(words, (*_SIZES, "--max-requests")))
    made_of_flags = all(_made_of_flags(lane) for lane in manifest.lanes)
    if made_of_flags:
        size = ["--request-count", str(total)]
    else:
        size = ["--stretch", _written(times * _stretch_of(words))]
    cap = _value(words, "--max-requests")
    if cap is None and any(map(_leads_elsewhere, manifest.lanes)):
        allowed: int | None = REMOTE_REQUESTS
    else:
        allowed = None if cap is None else int(cap)
    # A profile by time draws its arrivals anew: some more than this, or fewer.
    most = total if made_of_flags else math.ceil(total * _DRAWN_ANEW)
    if allowed is not None and (cap is not None or most > allowed):
        size += ["--max-requests", str(max(most, allowed))]
    return shlex.join(kept + size)


def _leads_elsewhere(lane: LaneRecord) -> bool:
    urls = [url for url in lane.base_url.split(", ") if url != EMBEDDED]
    return any(map(leads_elsewhere, urls))


def with_commands(clauses: Sequence[ClauseVerdict], manifest: Manifest) -> list[ClauseVerdict]:
    """The clauses, each that a run would decide with the command of that run."""
    found = []
    for clause in clauses:
        decide = clause.decide
        if decide is None or not clause.n:
            found.append(clause)
            continue
        # at least the run again: what an open clause lacks is never less than what it had
        times = max(Fraction(decide.requests, clause.n), Fraction(1))
        command = deciding_command(manifest, times)
        found.append(clause.replace(decide=decide.replace(command=command)))
    return found


def _made_of_flags(lane: LaneRecord) -> bool:
    return bool(lane.profile.get("name") == MADE_OF_FLAGS)


def _without(words: Sequence[str], flags: Sequence[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        flag, joined, _ = word.partition("=")
        if flag not in flags:
            yield word
        elif not joined and flag != "--quick":
            next(rest, None)


def _value(words: Sequence[str], flag: str) -> str | None:
    for place, word in enumerate(words):
        name, joined, value = word.partition("=")
        if name == flag:
            return value if joined else words[place + 1]
    return None


def _stretch_of(words: Sequence[str]) -> Fraction:
    return parse_times(_value(words, "--stretch") or "1")


def _written(times: Fraction) -> str:
    """Never less, to a tenth, for a command is read before it is typed."""
    tenths = math.ceil(times * 10)
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths / 10:.1f}"
