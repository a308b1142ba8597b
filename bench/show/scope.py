"""Of which stretch of time a PASS speaks, and what it could not see, in words.

In: clauses with their scope. Out: sentences. Must stay true: the service is named only where runs
at random times were judged together; a PASS of one run names its window and its load; what lasts
longer than the blind spot may have been missed, and is never called kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench.record.records.verdicts import ClauseVerdict, Scope
from bench.show.wording import few, visible
from bench.units import S, show_duration, show_list

#: So many targets are named.
_NAMED_MOST = 3


def for_window(scope: Scope) -> str:
    """`for 14:00 to 14:10 UTC on 6 November, at 50/s`, `for 10 min of simulated time, at 50/s`."""
    rate = "" if scope.rate_per_s is None else f", at {_rate(scope.rate_per_s)}"
    if scope.of == "service":
        return f"for the service, by runs at random times {_window(scope)}{rate}"
    if scope.of == "runs":
        return f"for the runs {_window(scope)}{rate}"
    return f"{_window(scope)}{rate}"


def _window(scope: Scope) -> str:
    if scope.start_utc is None or scope.end_utc is None:
        return f"for {show_duration(_rounded_ns(scope.duration_s))} of simulated time"
    start, end = (datetime.fromisoformat(each) for each in (scope.start_utc, scope.end_utc))
    first, last = f"{start.day} {start:%B}", f"{end.day} {end:%B}"
    if scope.of != "run":
        return f"of {first}" if first == last else f"between {first} and {last}"
    clock = "%H:%M" if start.second == end.second == 0 or scope.duration_s >= 600 else "%H:%M:%S"
    if first == last:
        return f"for {start:{clock}} to {end:{clock}} UTC on {first}"
    return f"for {first}, {start:{clock}}, to {last}, {end:{clock}} UTC"


def _rounded_ns(seconds: float) -> int:
    return round(seconds) * S if seconds >= 1 else round(seconds * S)


def _rate(per_s: float) -> str:
    """`50/s`, `6.2/min`."""
    return f"{per_s:,.3g}/s" if per_s >= 0.5 else f"{per_s * 60:,.3g}/min"


def seldom(clauses: Sequence[ClauseVerdict]) -> list[str]:
    """Which outages or slow stretches that come seldom the clauses' run could have missed, which it
    was long enough to meet.
    """
    scopes = [clause.scope for clause in clauses if clause.scope is not None]
    missed = [spot for each in scopes if (spot := each.blind_spot_s) and not reached(each)]
    met = sorted({each.assumed_outage_s for each in scopes if reached(each)})
    said = []
    if missed:
        shortest, longest = (show_duration(round(end(missed) * S)) for end in (min, max))
        spots = shortest if shortest == longest else f"{shortest} to {longest} (by clause)"
        said.append(
            f"outages or slow stretches longer than {spots} that come seldom may have been missed"
        )
    if met:
        lengths = show_list([show_duration(each * S) for each in met])
        said.append(f"it was long enough to meet outages of {lengths} that come seldom")
    return said


def reached(scope: Scope) -> bool:
    """Whether the run was long enough to meet an outage of the assumed length."""
    return scope.blind_spot_s is not None and scope.blind_spot_s >= scope.assumed_outage_s


def passes_speak_of(clauses: Sequence[ClauseVerdict]) -> list[str]:
    """A sentence for each stretch of time that a PASS speaks of."""
    kept = [clause for clause in clauses if clause.verdict == "PASS" and clause.scope is not None]
    windows = dict.fromkeys(for_window(clause.scope) for clause in kept if clause.scope)
    said = []
    for window in windows:
        of_it = [clause for clause in kept if clause.scope and for_window(clause.scope) == window]
        names = list(dict.fromkeys(visible(clause.target, 60) for clause in of_it))
        who = "" if len(windows) == 1 else f" of {few(names, _NAMED_MOST)}"
        said.append(f"{'; '.join([f'PASS{who} holds {window}', *seldom(of_it)])}.")
    return said
