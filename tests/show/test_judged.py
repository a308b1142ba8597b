"""The judge's own records, shown."""

from __future__ import annotations

import json

import pytest

from bench.judge.review import review
from bench.plan.contract import Contract
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from bench.show.last_screen import Ended, run_result
from bench.show.report import write_report
from bench.show.result import MOST_LINES
from tests.support.made_runs import Made, MakeRun, spoil_all, spoil_some
from tests.support.screens import result_lines, whole_markdown


def judged(made: Made, contract: Contract) -> str:
    """Judge a made run by a contract, write its report; returns all of it as Markdown."""
    path = made.run.folder / "run.json"
    manifest = json.loads(path.read_text())
    for lane in manifest["lanes"]:
        lane["contract"] = contract.model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(manifest))
    run = Run(made.run.folder)
    made.summary, made.verdicts = review(run)
    write_report(run, made.records)
    lines = result_lines(run_result(Ended(summary=made.summary, verdicts=made.verdicts)))
    assert max(map(len, lines)) <= 100
    assert len(lines) <= MOST_LINES
    return whole_markdown(run, made.records)


EVERY_METRIC = Contract.model_validate(
    {
        "title": "every metric",
        "name": "all",
        "attested": [{"term": "zero retention"}],
        "clause": [
            *(
                {"metric": metric, "quantile": "99%", "limit": "800ms"}
                for metric in ("ttft", "ttft_answer", "e2e", "tpot", "inter_chunk_max")
            ),
            {"metric": "ttft", "quantile": "95%", "limit": "300ms", "phase": "burst"},
            {
                "metric": "e2e",
                "quantile": "99.9%",
                "limit": "3s",
                "view": "service",
                "bucket": "1K–8K",
            },
            {"metric": "uptime", "share": "99.9%"},
            {"metric": "error_share", "share": "1%", "excluding": ["rate_limited"]},
            {"metric": "e2e", "quantile": "50%", "report_only": True},
        ],
    }
)


def test_every_kind_of_clause_is_shown_as_it_was_judged(make_run: MakeRun) -> None:
    """Verdict and counts of each record stand in its row, found by counting the rows here."""
    made = make_run(["standard"], spoil=spoil_some)
    rows = [
        line.split(" | ")
        for line in judged(made, EVERY_METRIC).splitlines()
        if line.startswith("| standard | ") and " (" in line and len(line.split(" | ")) == 9
    ]
    assert [row[2] for row in rows] == [clause.verdict for clause in made.verdicts.clauses]
    measured = made.run.columns.measured().samples
    over = sum(
        row["outcome"] != Outcome.ok or row["last_token_ns"] - row["due_ns"] > 800_000_000
        for row in measured
        if row["outcome"] != Outcome.censored
    )
    failed = sum(row["outcome"] not in (Outcome.ok, Outcome.censored) for row in measured)
    assert f"{over} of 1,080 requests were slow or failed" in rows[2][8]
    assert f"{failed} of 1,080 requests failed" in rows[7][8]


@pytest.mark.parametrize("rows", [1, 60])
def test_a_run_in_which_nothing_succeeded_is_judged_and_shown(make_run: MakeRun, rows: int) -> None:
    """No value, no bound, no invented number."""
    made = make_run(["standard"], rows=rows, spoil=spoil_all)
    markdown = judged(made, EVERY_METRIC)
    assert "| no answer | too few for a bound |" in markdown
    assert (
        "“standard”"
        f" {'answered none of its 60 requests' if rows > 1 else 'did not answer its one request'}"
        in markdown
    )
