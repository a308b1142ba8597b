"""The one paragraph that a reader who is no engineer can quote.

In: lanes, summary and verdicts. Out: plain sentences. Must stay true: it says nothing that the
tables below it do not say in numbers, and never calls a term kept that was not decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.show.wording import count, per_cent, seconds_for_readers, visible
from bench.units import show_duration

#: Up to this many targets each get a sentence; more are counted.
NAMED_MOST = 4


def buyers_paragraph(
    lanes: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], verdicts: Mapping[str, Any]
) -> str:
    """Load, answers and terms kept, in words."""
    targets = summary["targets"]
    played = [lane for lane in lanes if not lane.get("simulated")] or lanes
    length = max((lane["end_ns"] for lane in played), default=0) - min((lane["start_ns"] for lane in played), default=0)
    requests = sum(target["requests"] for target in targets.values())
    what = f"{count(requests)} request{'s' * (requests != 1)} to {len(targets)} target{'s' * (len(targets) != 1)}"
    kinds = list(dict.fromkeys(visible(lane["profile"].get("description", ""), 80) for lane in lanes))
    kind = f" ({kinds[0]})" if len(kinds) == 1 and kinds[0] else ""
    said = [f"During {show_duration(length)} of load{kind}, this test scheduled {what}."]
    if summary["overall"] == "INVALID":
        said.append("The measuring side was itself the limit, so nothing here judges the service.")
        return " ".join(said)
    if virtual := sum(bool(lane.get("simulated")) for lane in lanes):
        whose = "The answers" if virtual == len(lanes) else f"Those of {virtual} targets"
        said.append(f"{whose} came from a simulation, not from a service.")
    clauses = verdicts["clauses"]
    if len(targets) <= NAMED_MOST:
        said += [_target_sentence(name, target, clauses) for name, target in targets.items()]
    elif clauses:
        said.append(_terms_of_all(clauses))
    breach = verdicts.get("projected_breach_usd")
    if breach is not None:
        said.append(f"The breaches found are priced at {float(breach):,.0f} USD by the contract.")
    return " ".join(said)


def _target_sentence(name: str, target: Mapping[str, Any], clauses: Sequence[Mapping[str, Any]]) -> str:
    who = visible(name, 60)
    came = target.get("reached", target["requests"])
    if not target["ok"]:
        answered = f"{who} answered none of its {count(came)} requests"
    else:
        answered = f"{who} answered {per_cent(target['ok'] / came, 2)} of its requests"
        latency = target["response_ms"]["e2e"]
        if latency is not None:
            slowest = seconds_for_readers(latency["p99"])
            answered += (
                f", 99 of 100 of those within {slowest}" if latency["n"] >= 100 else f", all of those within {slowest}"
            )
    judged = [clause for clause in clauses if clause["target"] == name and clause["verdict"] != "REPORTED"]
    if not judged:
        return f"{answered}."
    kept = [clause for clause in judged if clause["verdict"] == "PASS"]
    broken = [clause for clause in judged if clause["verdict"] == "FAIL"]
    if len(kept) == len(judged):
        return f"{answered}; it met every term of the contract that this test judges ({len(kept)})."
    parts = [f"met {len(kept)}"] if kept else []
    if broken:
        parts.append(f"broke {len(broken)} ({_named(broken)})")
    if undecided := len(judged) - len(kept) - len(broken):
        parts.append(f"left {undecided} undecided at this many requests")
    return f"{answered}; of {len(judged)} terms of the contract it {' and '.join(parts)}."


def _named(broken: Sequence[Mapping[str, Any]]) -> str:
    """The first two of them, and how many more."""
    more = f"; and {len(broken) - 2} more" if len(broken) > 2 else ""
    return "; ".join(visible(clause["text"], 90) for clause in broken[:2]) + more


def _terms_of_all(clauses: Sequence[Mapping[str, Any]]) -> str:
    counts = {word: sum(clause["verdict"] == word for clause in clauses) for word in ("PASS", "FAIL", "INCONCLUSIVE")}
    return (f"Of {sum(counts.values())} terms judged, {counts['PASS']} were met, {counts['FAIL']} were broken "
            f"and {counts['INCONCLUSIVE']} could not be decided at this many requests.")  # fmt: skip
