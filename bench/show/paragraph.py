"""The one paragraph that a reader who is no engineer can quote.

In: manifest, summary and verdicts. Out: plain sentences. Must stay true: it says nothing that the
tables below it do not say in numbers, and never calls a term kept that was not decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench.record.records.manifest import Manifest
from bench.record.records.summary import Summary, TargetSummary
from bench.record.records.verdicts import ClauseVerdict, Forecast, Verdicts
from bench.show.facts import for_buyers
from bench.show.scope import for_window
from bench.show.wording import (
    capital,
    count,
    few,
    limit_alone,
    per_cent,
    seconds_for_readers,
    visible,
)
from bench.units import show_duration, show_list

Judged = ClauseVerdict | Forecast
#: Up to this many targets each get a sentence; more are counted.
NAMED_MOST = 4
#: What flags call the one target of a run.
_BY_FLAGS = "target"


def buyers_paragraph(manifest: Manifest, summary: Summary, verdicts: Verdicts) -> str:
    """Load, answers and terms kept, in words."""
    targets = summary.targets
    clauses: list[Judged] = [*verdicts.clauses, *verdicts.forecasts]
    said = [_what_was_done(manifest, summary)]
    if summary.overall == "INVALID":
        return f"{said[0]} {capital(summary.health.why_invalid)}, so nothing is judged."
    if left_out := verdicts.left_out:
        said.append(for_buyers(left_out))
    if len(targets) <= NAMED_MOST:
        said += [_target_sentence(name, target, clauses) for name, target in targets.items()]
    else:
        said.append(_all_of_them(summary, clauses))
    if not any(clause.judged for clause in clauses):
        said.append(
            "It was judged by no contract."
            if len(targets) == 1
            else "They were judged by no contract."
        )
    said += _kept_when(verdicts.clauses)
    if (breach := verdicts.projected_breach_usd) is not None:
        said.append(f"The contract prices a breach at {float(breach):,.0f} USD.")
    return " ".join(said)


def statement(manifest: Manifest, summary: Summary, verdicts: Verdicts) -> str:
    """The paragraph to file: what was done, what it shows and does not, and what it is known by."""
    said = [buyers_paragraph(manifest, summary, verdicts)]
    if expects := verdicts.expects:
        met = sum(each.met for each in expects)
        found = "all" if met == len(expects) else count(met)
        said.append(
            f"It was a rehearsal: of {count(len(expects))} expected answers {found} were found."
            " It says nothing of any real provider."
        )
    sent = any(not target.simulated for target in summary.targets.values())
    if sent and summary.overall != "INVALID":
        said.append(_HARNESS[summary.health.state])
    version = manifest.versions.get("tailproof", "")
    digest = manifest.manifest_sha256 or ""
    known = [f"Run {visible(manifest.run, 120)}"]
    known += [f"tailproof {visible(version, 40)}"] if version else []
    known += [f"manifest sha256 {visible(digest, 64)[:16]}…"] if digest else []
    return f"{' '.join(said)} {'; '.join(known)}."


_HARNESS = {
    "valid": "The harness was within its own limits.",
    "degraded": "The harness exceeded some of its own limits.",
    "invalid": "The harness itself was the limit.",
}


def _kept_when(clauses: Sequence[ClauseVerdict]) -> list[str]:
    """Of which time it is said that terms were kept."""
    scopes = [each.scope for each in clauses if each.verdict == "PASS" and each.scope is not None]
    windows = list(dict.fromkeys(map(for_window, scopes)))
    if not windows:
        return []
    one_run = scopes[0].of == "run"
    when = windows[0] if len(windows) == 1 else "for the time of each target's own requests"
    return [f"That is said {when}{', and of no other hours' if one_run else ''}."]


def _targets(number: int) -> str:
    return "one target" if number == 1 else f"{count(number)} targets"


def _what_was_done(manifest: Manifest, summary: Summary) -> str:
    computed = {lane.name for lane in manifest.lanes if lane.simulated}
    live = [lane for lane in manifest.lanes if not lane.simulated]
    length = max((lane.end_ns for lane in live), default=0) - min(
        (lane.start_ns for lane in live), default=0
    )
    came = {name: target.reached for name, target in summary.targets.items()}
    sent = [name for name in came if name not in computed]
    parts = []
    if sent:
        requests = _requests(sum(came[name] for name in sent))
        lasted = f" in {show_duration(length)}" if manifest.state == "complete" else ""
        parts.append(f"sent {requests} to {_targets(len(sent))}{lasted}")
    if virtual := [name for name in came if name in computed]:
        number = sum(came[name] for name in virtual)
        whole = f"computed {count(number)} for {count(len(virtual))} more"
        alone = f"computed {_requests(number)} to {_targets(len(virtual))} and sent none"
        parts.append(whole if sent else alone)
    broken_off = "" if summary.state == "complete" else " It was interrupted before its end."
    return f"On {_day(manifest.started_utc)} this test {' and '.join(parts)}.{broken_off}"


def _requests(number: int) -> str:
    return f"{count(number)} request{'s' * (number != 1)}"


def _day(utc: str) -> str:
    """`30 November 2026`; what is no date stands as it is."""
    try:
        day = datetime.fromisoformat(utc)
    except ValueError:
        return visible(utc[:10])
    return f"{day.day} {day:%B %Y}"


def _target_sentence(name: str, target: TargetSummary, clauses: Sequence[Judged]) -> str:
    answered = _answered(target)
    who = "The target" if name == _BY_FLAGS else f"“{visible(name, 60)}”"
    judged = [clause for clause in clauses if clause.target == name and clause.judged]
    if not judged:
        return f"{who} {answered}."
    kept, broken, left = (_having(judged, verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE"))
    of = f"the {len(judged)} clauses" if len(judged) > 1 else "the one clause"
    if len(kept) == len(judged):
        return (
            f"{who} {answered}, and kept {of} of its contract that"
            f" {'were' if len(kept) > 1 else 'was'} tested."
        )
    parts = [f"{len(kept)} {'was' if len(kept) == 1 else 'were'} kept"] if kept else []
    if broken:
        parts.append(
            f"{len(broken)} {'was' if len(broken) == 1 else 'were'} broken ({_named(broken)})"
        )
    if left:
        parts.append(f"{len(left)} {'was' if len(left) == 1 else 'were'} not decided")
    came = show_list(parts)
    return (
        f"{who} {answered}. Of {of} of its contract that {'were' if len(judged) > 1 else 'was'}"
        f" tested, {came}."
    )


def _answered(target: TargetSummary) -> str:
    """`answered 99.5 % of its 1,200 requests, 99 of 100 of these within 3.9 s`."""
    came, ok, latency = (
        target.reached,
        target.ok,
        target.response_ms.e2e,
    )
    if not came:
        return "was sent no request"
    if not ok:
        return (
            "did not answer its one request"
            if came == 1
            else f"answered none of its {count(came)} requests"
        )
    said = (
        f"answered {'all' if ok == came else per_cent(ok / came, 2) + ' of'} its {count(came)}"
        " requests"
    )
    said = "answered its one request" if came == 1 else said
    if latency is None:
        return said
    within = seconds_for_readers(latency.p99)
    fewer = "at most " if came == 1 else "these "
    share = "99 of 100 of these " if latency.n >= 100 else fewer
    return f"{said}, {share}within {within}"


def _having(clauses: Sequence[Judged], verdict: str) -> list[Judged]:
    return [clause for clause in clauses if clause.verdict == verdict]


def _named(broken: Sequence[Judged]) -> str:
    """The first two of them, and how many more."""
    more = f"; and {len(broken) - 2} more" if len(broken) > 2 else ""
    return f"promised: {'; '.join(map(_promise, broken[:2]))}{more}"


def _promise(clause: Judged) -> str:
    """`the answer complete within 800 ms for 99 % of requests`; a term of another kind in the
    contract's own words.
    """
    if isinstance(clause, Forecast):
        return visible(clause.text, 90)
    everywhere = clause.phase is None and clause.bucket is None and clause.view == "response"
    plain = clause.kind.plain(clause.metric)
    if not everywhere or plain is None or clause.promised is None:
        return visible(clause.text, 90)
    return plain.format(limit=limit_alone(clause), share=per_cent(clause.quantile))


def _all_of_them(summary: Summary, clauses: Sequence[Judged]) -> str:
    """Too many targets for a sentence each: answers of all, terms by verdict, and who
    broke any.
    """
    came = sum(target.reached for target in summary.targets.values())
    ok = sum(target.ok for target in summary.targets.values())
    said = (
        f"Together they answered {per_cent(ok / came, 2)} of them."
        if came
        else "They were sent no request."
    )
    kept, broken, left = (_having(clauses, verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE"))
    if kept or broken or left:
        said += (
            f" Of {len(kept) + len(broken) + len(left)} clauses {len(kept)} were kept,"
            f" {len(broken)} broken and {len(left)} not decided."
        )
    if names := list(dict.fromkeys(visible(clause.target, 60) for clause in broken)):
        said += f" Broken by: {few(names, NAMED_MOST)}."
    return said
