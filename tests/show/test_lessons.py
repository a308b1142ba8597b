"""A rehearsal's lessons: what was planted, what the records say was found."""

from __future__ import annotations

from typing import Any

import pytest

from bench.judge.review import Records
from bench.plan.suite import load_suite
from bench.record.identity import suite_name
from bench.record.records.attribution import Cause, LaneAttribution
from bench.record.records.verdicts import Expectation
from bench.show.lessons import Lesson, lessons, lessons_section
from tests.show.test_routes_page import RECORD
from tests.support.made_runs import Made

EXPECT = Expectation(
    target="standard", clause="response e2e p99 ≤ 800 ms", expected="FAIL", got="FAIL", met=True
)
TOLD = {"stage": "chat-tiers", "lesson": "The tail is shared", "planted": "bursts"}


def found_of(made: Made, expects: list[Expectation], **records: Any) -> list[Lesson]:
    """The lessons of a run with these expected answers and records."""
    verdicts = made.verdicts.replace(expects=expects)
    nothing = {"comparisons": None, "routes": None, "census": None}
    attribution = records.pop("attribution", made.records.attribution)
    every = Records(made.summary, verdicts, attribution, **(nothing | records))
    return lessons(made.run, every)


def caused(*causes: Cause) -> LaneAttribution:
    """The attribution of a lane whose slow requests have these causes."""
    return LaneAttribution(
        metric="e2e",
        view="response",
        above_ms=800,
        by="limit",
        n=100,
        tail=10,
        set_apart=0,
        failed={},
        blocks=10,
        confidence=0.95,
        levels=[],
        causes=[*causes],
        when=None,
        shapley=None,
        decomposition=None,
        confounded=[],
        reason=None,
    )


def test_a_stage_with_expected_answers_is_a_lesson(spoilt: Made) -> None:
    """With the texts of its file, its first expected clause as what was found, and m of n."""
    told = TOLD | {"stage": spoilt.run.lanes[0].stage}
    suite = {"name": "s", "lessons": [told, {"stage": "another", "lesson": "unused"}]}
    spoilt.run.manifest = spoilt.run.manifest.replace(suite=suite)
    missed = EXPECT.replace(target="pro", got="PASS", met=False)
    (lesson,) = found_of(spoilt, [EXPECT, missed])
    assert (lesson.title, lesson.planted) == ("The tail is shared", "bursts")
    assert (lesson.met, lesson.of, lesson.verdict) == (1, 2, "FAIL")
    assert lesson.found == "standard p99 3,870 ms: FAIL and pro p99 402 ms: PASS"
    assert lesson.unmet == "expected FAIL, got PASS: pro, response e2e p99 ≤ 800 ms"
    (section,) = lessons_section([lesson])
    assert section.answer == "No: 1 of 2 expected answers; not those of lesson 1."


def test_the_first_record_that_a_stage_has_speaks(spoilt: Made) -> None:
    """A drill before routes before attribution before the clause; a target that lost nothing and
    has no route is not named.
    """
    stage = spoilt.run.lanes[0].stage
    lost, moved = (each.replace(stage=stage) for each in RECORD.drills)
    routes = RECORD.replace(drills=[lost, moved, lost.replace(target="calm", lost=0)])
    (lesson,) = found_of(spoilt, [EXPECT], routes=routes)
    assert lesson.found == (
        f"alone: 44 of {lost.requests} lost; r: {moved.lost} of {moved.requests} lost, failed over"
        " in 0.90 s, back 4.5 s after recovery"
    )
    standing = RECORD.stages[0].replace(stage=stage)
    tails = [each.replace(against_first_leg="longer") for each in standing.lanes[:1]]
    routes = RECORD.replace(
        drills=[], stages=[standing.replace(lanes=[*tails, *standing.lanes[1:]])]
    )
    (lesson,) = found_of(spoilt, [EXPECT], routes=routes)
    assert lesson.found == "p99: r 4.4 s, alone no answer"
    cause = Cause(
        factor="cold start",
        level="yes",
        paf=0.28,
        paf_95=(0.2, 0.3),
        share_of_tail=0.3,
        share_overall=0.1,
    )
    attribution = spoilt.records.attribution.model_copy(
        update={"targets": {"standard": caused(cause, cause.replace(factor="phase", level="b"))}}
    )
    (lesson,) = found_of(spoilt, [EXPECT], attribution=attribution)
    assert lesson.found == "cold start 28 %, phase b 28 %"


def test_without_expected_answers_there_are_no_lessons(spoilt: Made) -> None:
    """Nor a section of them; with all met the answer is yes."""
    assert found_of(spoilt, []) == []
    assert list(lessons_section([])) == []
    (section,) = lessons_section(found_of(spoilt, [EXPECT]))
    assert section.answer == "Yes: the one expected answer, in 1 lesson."


@pytest.mark.parametrize("suite", ["field-guide", "silent-downgrade"])
def test_every_rehearsal_that_is_shipped_says_what_it_planted(suite: str) -> None:
    """Each stage and month has both lines, and the manifest keeps them in the suite's order."""
    loaded = load_suite(suite)
    names = [stage.name for stage in loaded.stages] + [path.stem for _, path in loaded.months]
    kept = suite_name(loaded).lessons
    assert [each.stage for each in kept] == names
    assert all(each.lesson and each.planted for each in kept)
