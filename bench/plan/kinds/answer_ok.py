"""`metric = "answer_ok"`: at least a share of the answers is what the profile expects of them.

In: the keys of a clause. Out: its words. Must stay true: only whole answers count, for a request
without one is uptime's matter; what is expected stands in the profile (`expect_answer`).
"""

from __future__ import annotations

from bench.plan.kinds.kind import Kind
from bench.plan.kinds.of_failures import at_least, checked_with

ANSWER_OK = Kind(
    name="answer_ok",
    named_by="metric",
    promises=("answers",),
    keys=frozenset({"share"}),
    check=checked_with(),
    text=lambda keys: at_least(keys, "right answers"),
    of_answers=True,
    broke="was not what is expected",
    plain=lambda _: "a right answer to {share} of what it answers",
)
