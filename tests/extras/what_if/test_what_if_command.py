"""`tailproof what-if`: held to routes that really ran on the embedded gateway; what it prints,
writes and refuses.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.record.samples import Outcome
from tests.support.rows_by_hand import Row, answered, failed, lane_of, run_of
from tests.support.two_models import model, poisson, two_models

SUITE = two_models(
    '[{ weight = 80, fixed = "300ms" }, { weight = 20, fixed = "2s" }]',
    '{ fixed = "400ms" }',
    'targets = ["m0.toml", "m1.toml", "published.toml", "deadline.toml", "hedge.toml"]',
)
#: 600 ms: what it costs a slow row is 600 + 400 ms, and 2,000 + 400 ms where the slow answer is
#: waited for.
RULES = {
    "published": 'sequential = { timeout = "5s", slower_than = "600ms" }',
    "deadline": 'deadline = { after = "600ms" }',
    "hedge": 'hedge = { after = "600ms" }',
}
PRICES = {
    "input_usd_per_million": "1",
    "output_usd_per_million": "2",
    "as_of": "2026-11-23",
    "source": "made",
}


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Standard output of `tailproof what-if`, which must end with `code`; of a refusal its
    sentence.
    """
    capsys.readouterr()
    assert main(["what-if", "--full", *words]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out or err


@pytest.mark.slow("eight seconds of requests in real time")
@pytest.mark.clock
def test_the_estimate_is_what_the_routes_did_on_the_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """p50, p99, success, calls and cost of each policy from the two models alone, within 10 % of
    the route that ran beside them.
    """
    files = {
        "suite": SUITE,
        "p": poisson("42/s", "8s"),
        **{name: model(name, 1, 2) for name in ("m0", "m1")},
        **{
            name: f'description = "d"\n[route]\nlegs = ["m0.toml", "m1.toml"]\n{rule}\n'
            for name, rule in RULES.items()
        },
    }
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    run = str(tmp_path / "run")
    assert main(["run", str(tmp_path / "suite.toml"), "--out", run]) == 0
    if json.loads((tmp_path / "run" / "summary.json").read_bytes())["health"]["state"] == "invalid":
        pytest.skip(
            "this machine was too busy to measure: the run is INVALID, and what-if rests on none"
            " such"
        )
    words = [
        run,
        "--default",
        "m0",
        "--fallback",
        "m1",
        "--threshold",
        "600ms",
        "--delay",
        "600ms",
        "--format",
        "json",
    ]
    record = json.loads(said(words, capsys))
    assert record["assumption"] == "paired"
    measured = {row["name"]: row for row in record["settings"] if row["policy"] is None}
    tried = {
        row["policy"]: row for row in record["settings"] if row["policy"] and not row["published"]
    }
    for policy, ran in (("sequential", "published"), ("deadline", "deadline"), ("hedge", "hedge")):
        for figure in ("p50_ms", "p99_ms", "success", "calls", "usd_per_1000"):
            assert tried[policy][figure] == pytest.approx(measured[ran][figure], rel=0.1), (
                f"{policy} {figure}"
            )
    assert tried["sequential"]["p99_ms"] == pytest.approx(2400, rel=0.05)
    assert tried["hedge"]["p99_ms"] == pytest.approx(1000, rel=0.05)
    assert measured["m0"]["p99_ms"] is None


def rows_of(lane: int, ends: list[int], *, tokens: int = 10) -> list[Row]:
    """Answers of so many ms, two a second; 0 is a failure."""
    return [
        {
            **(
                answered(ms, ms // 2, due=500 * place, tokens=tokens)
                if ms
                else failed(Outcome.http_5xx, due=500 * place)
            ),
            "lane": lane,
            "attempts": 1,
            "prompt_tokens": 10 if ms else -1,
        }
        for place, ms in enumerate(ends)
    ]


def a_run(folder: Path, slow: int = 4000, **lane: Any) -> str:
    """600 rows of `main` (every tenth `slow` ms, every fiftieth lost) and of `spare` (200 ms), five
    minutes side by side.
    """
    ends = [0 if place % 50 == 7 else slow if place % 10 == 3 else 100 for place in range(600)]
    rows = rows_of(0, ends) + rows_of(1, [200] * 600) + rows_of(2, [50] * 600)
    lanes = [
        lane_of(**{"name": name, "prices": PRICES, "end_ns": 300 * 10**9, **lane})
        for name in ("main", "spare", "third")
    ]
    run_of(folder, rows, *lanes)
    return str(folder)


def test_the_screen_names_policies_assumption_and_what_serves_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 s + 200 ms under the published rule where a hedge after 1 s has 1.2 s; models beside them
    as measured.
    """
    words = [
        a_run(tmp_path / "r"),
        "--default",
        "main",
        "--fallback",
        "spare",
        "--threshold",
        "1s..2s/2",
        "--delay",
        "1s",
    ]
    whole = said(words, capsys)
    lines, text = [" ".join(line.split()) for line in whole.splitlines()], " ".join(whole.split())
    published = next(place for place, line in enumerate(lines) if line.startswith("sequential 3 s"))
    assert "100 4,200" in lines[published]
    assert "published" in " ".join(lines[published : published + 2])
    for part in (
        "main, measured 100 –",
        "third, measured * 50.0 50.0",
        "deadline 2 s 100 2,200",
        "hedge 1 s 100 1,200",
    ):
        assert any(line.startswith(part) for line in lines), part
    assert "Rows are paired: each request of the one with the same request of the other" in text
    assert (
        "The published router's p99 would have been 4,200 ms; main alone had its p99 among its"
        " failures." in text
    )
    assert "for no more cost" in text


def test_a_router_that_makes_the_tail_worse_is_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without failures the default's p99 is 4 s, and waiting for it before the fallback's 200 ms is
    worse.
    """
    rows = rows_of(0, [4000 if place % 10 == 3 else 100 for place in range(600)]) + rows_of(
        1, [200] * 600
    )
    run_of(tmp_path / "r", rows, lane_of(name="main"), lane_of(name="spare"))
    text = " ".join(
        said([str(tmp_path / "r"), "--default", "main", "--fallback", "spare"], capsys).split()
    )
    assert (
        "would have been 4,200 ms; main alone had 4,000 ms: the router makes the tail worse."
        in text
    )
    assert "No cost: target main has no prices" in text


@pytest.mark.figures
def test_json_and_figure_are_written_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """what-if.json is what --format json prints; the figure is well-formed and names each policy,
    model and the front.
    """
    run, out = a_run(tmp_path / "r"), tmp_path / "deep" / "out"
    words = [
        f"{run}:main",
        f"{run}:spare",
        "--default",
        "main",
        "--fallback",
        "spare",
        "--policy",
        "hedge",
        "--delay",
        "1s..3s/3",
    ]
    printed = json.loads(said([*words, "--format", "json", "--out", str(out)], capsys))
    assert printed == json.loads((out / "what-if.json").read_text())
    assert [row["policy"] for row in printed["settings"]] == [
        None,
        None,
        "sequential",
        "hedge",
        "hedge",
        "hedge",
    ]
    svg = (out / "what-if.svg").read_text()
    ET.fromstring(svg)  # noqa: S314 our own figure
    for part in (
        "Pareto front",
        "hedge, 1 s to 3 s",
        "spare",
        "USD per 1,000 requests",
        "rows paired",
    ):
        assert part in svg
    (tmp_path / "file").touch()
    assert "cannot be made" in said([*words, "--out", str(tmp_path / "file" / "o")], capsys, 2)


def test_a_price_of_zero_gives_no_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason, and calls a request in its place."""
    free = PRICES | {"input_usd_per_million": "0", "output_usd_per_million": "0"}
    text = " ".join(
        said(
            [a_run(tmp_path / "r", prices=free), "--default", "main", "--fallback", "spare"], capsys
        ).split()
    )
    assert "No cost: target main has a price of zero." in text
    assert "*: no other row has both a lower p99 and fewer calls." in text
    assert "USD" not in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            ["r", "--default", "man", "--fallback", "spare"],
            "--default: there is no target named 'man'; there are main, spare, third",
        ),
        (
            ["r", "--default", "main", "--fallback", "main"],
            "--fallback: the fallback is the default itself",
        ),
        (
            ["r", "r", "--default", "main", "--fallback", "spare"],
            "--default: 2 of the runs have a target named 'main'; name the one as RUN:NAME",
        ),
        (
            ["r", "--default", "main", "--fallback", "spare", "--delay", "1"],
            "--delay: '1' is not a duration",
        ),
        (
            ["r", "--default", "main", "--fallback", "spare", "--threshold", "2s..1s/3"],
            "--threshold: '2s..1s/3' does not rise",
        ),
        (["none", "--default", "main", "--fallback", "spare"], "is not a run's folder"),
        (
            [
                "r",
                "--default",
                "main",
                "--fallback",
                "spare",
                "--policy",
                "hedge",
                "--threshold",
                "3s",
            ],
            (
                "--threshold: none of the chosen policies has one: --policy hedge; leave it out,"
                " or add --policy deadline"
            ),
        ),
        (
            [
                "r",
                "--default",
                "main",
                "--fallback",
                "spare",
                "--policy",
                "sequential",
                "--delay",
                "3s",
            ],
            (
                "--delay: none of the chosen policies has one: --policy sequential; leave it"
                " out, or add --policy hedge"
            ),
        ),
        (["r:man", "--default", "main", "--fallback", "spare"], "did you mean 'main'"),
    ],
)
def test_bad_words_end_in_one_sentence(
    words: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 2, what is wrong and what to write instead."""
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "r")
    sentence = said(words, capsys, 2)
    assert part in sentence
    assert len(sentence.splitlines()) == 1
