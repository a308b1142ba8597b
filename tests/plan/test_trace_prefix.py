"""Prefixes as recorded: `hash_ids` become text that is really shared.

In: a made trace. Out: the share of tokens that the simulator's own prefix cache has, beside the
trace's, which is counted by hand from its ids. Must stay true: they agree within 2 points.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import UserError
from bench.gateway.batching import PrefixCache
from bench.gateway.wire import prompt_blocks
from bench.load.endpoint import BodyWriter
from bench.plan.schedule import Plan
from tests.support.world import plan_for, text

BLOCK = 512


def _trace(path: Path, rows: int) -> tuple[str, float]:
    """A trace of conversations that grow, and what of it stood in blocks seen before."""
    draw = random.Random(7)
    sessions: list[list[int]] = []
    fresh, seen, known, total = 0, set[int](), 0, 0
    lines = []
    for row in range(rows):
        if not sessions or draw.random() < 0.3:
            sessions.append([])
        ids = draw.choice(sessions)
        for _ in range(draw.randint(1, 4)):
            ids.append(fresh)
            fresh += 1
        length = len(ids) * BLOCK - draw.choice([0, 100, 505, 511])
        whole = ids[: length // BLOCK]
        leading = 0
        while leading < len(whole) and whole[leading] in seen:
            leading += 1
        known += leading * BLOCK
        total += length
        seen.update(whole)
        line = {"timestamp": 100 * row, "input_length": length, "output_length": 2}
        lines.append(json.dumps(line | {"hash_ids": ids}))
    file = path / "mooncake.jsonl"
    file.write_text("\n".join(lines))
    return str(file), known / total


def _plan(file: str, prefix: str) -> Plan:
    arrivals = {"kind": "trace", "trace": {"file": file, "prefix": prefix}}
    return plan_for(arrivals)


def _cached_share(plan: Plan) -> float:
    writer = BodyWriter(plan.lanes[0], plan.schedule, text())
    cache = PrefixCache(10**6, BLOCK)
    cached = total = 0
    for row, planned in enumerate(plan.schedule):
        prompt = json.loads(writer.body(row))["messages"][0]["content"]
        tokens = len(prompt.split())
        assert tokens == planned["prompt_tokens"]
        job = SimpleNamespace(blocks=prompt_blocks(prompt, BLOCK), prompt_tokens=tokens)
        cached += cache.cached_tokens(job)  # type: ignore[arg-type]
        cache.remember(job)  # type: ignore[arg-type]
        total += tokens
    return cached / total


def test_the_cached_share_is_the_traces_within_two_points(tmp_path: Path) -> None:
    file, recorded = _trace(tmp_path, 120)
    assert recorded > 0.3
    assert _cached_share(_plan(file, "as recorded")) == pytest.approx(recorded, abs=0.02)
    assert _cached_share(_plan(file, "cold")) == 0
    notes = " ".join(_plan(file, "as recorded").lanes[0].notes)
    assert f"as recorded: {recorded * 100:.1f} % of their tokens" in notes


def test_a_trace_without_ids_cannot_be_shared_as_recorded(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"timestamp": 0, "input_length": 9, "output_length": 2}\n')
    with pytest.raises(UserError, match="line 1: has no hash_ids"):
        _plan(str(file), "as recorded")
    table = tmp_path / "t.csv"
    table.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,9,2\n")
    with pytest.raises(UserError, match="a CSV has not"):
        _plan(str(table), "as recorded")
