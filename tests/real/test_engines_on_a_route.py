"""tailproof's own router over two real engines, one of which dies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.record.run_folder import Run
from bench.record.samples import Outcome, Reason
from tests.real.real_servers import Server, kill_when, run

SUITE = """
description = "the first engine while it lives, then the second"
[[stage]]
name = "failover"
targets = ["route.toml"]
profile = "load.toml"
"""
ROUTE = """
description = "the first, and after two failures in a row the second alone"
[route]
legs = ["first.toml", "second.toml"]
breaker = { failures = 2, open_for = "60s" }
"""
LOAD = """
description = "one at a time, due at once"
requests = 6
max_in_flight = 1
prompt_tokens = [{ fixed = 16 }]
output_tokens = [{ fixed = 40 }]
arrivals = { kind = "constant", rate = "50/s" }
"""


def test_a_route_loses_no_row_when_its_first_engine_dies(
    another: Callable[..., Server], tmp_path: Path
) -> None:
    """The row that was cut and those that found the port closed are answered by the second engine;
    then the breaker spares the first.
    """
    first, second = another("first"), another("second")
    for engine, name in ((first, "first"), (second, "second")):
        (tmp_path / f"{name}.toml").write_text(
            f'description = "d"\nbase_url = "{engine.url}"\nmodel = "{name}"\n'
        )
    for name, text in {"suite": SUITE, "route": ROUTE, "load": LOAD}.items():
        (tmp_path / f"{name}.toml").write_text(text)
    killer = kill_when(first, lambda: first.begun() == 2 and first.decoded() >= 4)
    rows, out = run(tmp_path, str(tmp_path / "suite.toml"))
    killer.join()
    assert [(row["outcome"], row["served_model"]) for row in rows] == [("ok", "first")] + [
        ("ok", "second")
    ] * 5
    calls = Run(out).attempts
    lost = calls[calls["outcome"] != Outcome.ok]
    assert lost["outcome"][0] == Outcome.truncated
    assert set(lost["leg"]) == {0}
    # Two failures in a row: the cut one, and the first that found nobody.
    assert lost["row"].tolist() == [1, 2]
    assert np.bincount(calls["reason"], minlength=len(Reason))[
        [Reason.error, Reason.rerouted]
    ].tolist() == [2, 3]
    (event,) = json.loads((out / "run.json").read_text())["leg_events"]
    assert (event["leg"], event["state"]) == (0, "open")
    # What the second engine says that it answered.
    assert len(second.timings()) == 5
