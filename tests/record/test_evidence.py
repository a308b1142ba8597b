"""What is kept for the vendors: bounded, without secrets, the same however a run was divided."""

from __future__ import annotations

import random
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bench.load.evidence import Evidence
from bench.load.request import Request
from bench.load.texts import Strings
from bench.record.facts import kept_evidence
from bench.record.gather import gather_evidence
from bench.record.parts import FAILED_MOST, SLOW_MOST, Part, all_evidence
from bench.record.pieces import SealedFiles, SegmentWriter
from bench.record.records.served import LaneEvidence
from bench.record.run_folder import Run
from bench.record.samples import SAMPLE_DTYPE, SCHEDULE_DTYPE, Outcome
from tests.support.rows_by_hand import answered, lane_of, run_of

PAIRS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["a", "b"])), unique=True)
LANES = st.lists(
    st.builds(
        LaneEvidence,
        requests_left=st.none() | st.integers(0, 9),
        tokens_left=st.none() | st.integers(0, 9),
        failed=st.dictionaries(st.sampled_from(["quota", "server"]), PAIRS),
        slow=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), st.just("s")), unique=True),
    ),
    max_size=2,
)


def ended(row: int, took_ns: int, name: bytes, left: int = -1) -> Request:
    """A request that was due at 0 and ended after so long."""
    request = Request(row, None, 0, True, array("q"), lambda *_: None)
    request.done_ns, request.request_id, request.requests_left = took_ns, name, left
    return request


def test_the_slowest_and_the_first_of_each_cause_are_kept() -> None:
    """Of 1,000 answers the 50 slowest, of 100 failures the first 50; the least that was left."""
    evidence, draw = Evidence(1), random.Random(1)
    took = [draw.randrange(10**9) for _ in range(1000)]
    for row, ns in enumerate(took):
        evidence.note(ended(row, ns, b"id-%d" % row, 5000 - row), Outcome.ok, "", 0, 0)
    for row in range(1000, 1100):
        request = ended(row, 1, b"id-%d" % row)
        request.status = 503
        evidence.note(request, Outcome.http_5xx, "HTTP 503", 0, 0)
        evidence.note(ended(row, 1, b"cut"), Outcome.censored, "", 0, 0)
    (found,) = evidence.copy().records(str)
    slowest = sorted(((ns, row) for row, ns in enumerate(took)), reverse=True)[:SLOW_MOST]
    assert [(ns, row) for ns, row, _ in found.slow] == slowest
    assert found.failed == {"overload": [(row, f"id-{row}") for row in range(1000, 1050)]}
    assert (found.requests_left, found.tokens_left) == (4001, None)
    assert not evidence.changed


def test_a_name_holds_no_secret_and_is_cut() -> None:
    """A server may echo what it was sent."""
    evidence = Evidence(1)
    evidence.note(ended(0, 1, b"for opaque-4711/AbC"), Outcome.ok, "", 0, 0)
    evidence.note(ended(1, 2, b"\xff" * 5000), Outcome.ok, "", 0, 0)
    (found,) = evidence.records(Strings([SecretStr("opaque-4711/AbC")]).clean)
    names = {row: name for _, row, name in found.slow}
    assert "4711" not in names[0]
    assert len(names[1]) == 200


@given(st.lists(LANES, max_size=3))
def test_several_parts_keep_what_one_would(parts: list[list[LaneEvidence]]) -> None:
    """Lane by lane: the least, the first, the slowest of all of them."""
    found = all_evidence(parts)
    assert len(found) == max(map(len, parts), default=0)
    for lane, together in enumerate(found):
        mine = [part[lane] for part in parts if lane < len(part)]
        left = [each.requests_left for each in mine if each.requests_left is not None]
        assert together.requests_left == min(left, default=None)
        for cause in {cause for each in mine for cause in each.failed}:
            rows = sorted({pair for each in mine for pair in each.failed.get(cause, [])})
            assert together.failed[cause] == rows[:FAILED_MOST]
        every = sorted({one for each in mine for one in each.slow}, reverse=True)
        assert together.slow == every[:SLOW_MOST]


def test_a_shards_rows_get_the_numbers_they_have_in_the_run() -> None:
    """Shard 2 of 2 sent sessions 1, 3, 5: its row 1 is the run's row 3; a row it never had is
    dropped.
    """
    schedule = np.zeros(6, SCHEDULE_DTYPE)
    schedule["session"] = range(6)
    kept = [LaneEvidence(failed={"quota": [(1, "q"), (9, "none")]}, slow=[(5, 2, "s")])]
    files = SealedFiles(Path(), np.zeros(3, SAMPLE_DTYPE), None, {}, kept)
    (found,) = gather_evidence([Part.of_shard("elsewhere", 2, 2, files=files)], schedule)
    assert (found.failed, found.slow) == ({"quota": [(3, "q")]}, [(5, 5, "s")])


@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_run_has_what_its_pieces_hold(tmp_path: Path, damaged: bool) -> None:
    """Each worker's file, until the run is closed; one that cannot be read is named."""
    run = run_of(tmp_path / "run", [answered(100)], lane_of(), state="running")
    SegmentWriter(run.folder).append_evidence([LaneEvidence(slow=[(7, 0, "a")])])
    if damaged:
        (run.folder / "samples" / "w0-evidence.json").write_text("{")
        with pytest.raises(Exception, match=r"w0-evidence\.json"):
            kept_evidence(Run(run.folder))
        return
    assert kept_evidence(Run(run.folder)) == [
        LaneEvidence(requests_left=None, tokens_left=None, failed={}, slow=[(7, 0, "a")])
    ]
