"""Request logs of others: what is read, what is named, what is refused."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.record.log_numbers import unit_of
from bench.record.request_log import Reading, RequestLog, read_log
from bench.record.samples import Outcome, latency_ns, outcome_counts

MS = 10**6
HEAD = "timestamp,duration_ms,status\n"


def log_of(folder: Path, text: str, name: str = "log.csv", **reading: Any) -> RequestLog:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_log([path], Reading(**reading))


def refusal(folder: Path, text: str, name: str = "log.csv", **reading: Any) -> str:
    with pytest.raises(UserError) as caught:
        log_of(folder, text, name, **reading)
    return str(caught.value)


def wall_ns(log: RequestLog) -> list[int]:
    return [int(due) + log.facts.start_wall_ns for due in log.columns.samples["due_ns"]]


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * MS


def test_a_csv_log_becomes_rows(tmp_path: Path) -> None:
    """Times, lengths, statuses, tokens and texts of each row arrive exactly; empty cells are
    absent, not 0.
    """
    log = log_of(
        tmp_path,
        "timestamp,duration_ms,ttft_ms,status,model,prompt_tokens,completion_tokens,error\n"
        "2026-10-01T00:00:30.250Z,800.5,120.25,200,gpt,900,64,\n"
        '2026-10-01T02:00:31+02:00,,,503,"g,x",9000,,"down, again"\n',
    )
    samples = log.columns.samples
    assert wall_ns(log) == [ns("2026-10-01T00:00:30.250Z"), ns("2026-10-01T00:00:31Z")]
    assert log.facts.start_wall_ns == ns("2026-10-01T00:00:00Z")
    assert latency_ns(samples, "e2e").tolist() == [800_500_000, -1]
    assert latency_ns(samples, "ttft").tolist() == [120_250_000, -1]
    assert outcome_counts(samples) == {"ok": 1, "http_5xx": 1}
    assert samples["status"].tolist() == [200, 503]
    assert (samples["prompt_tokens"].tolist(), samples["output_tokens"].tolist()) == (
        [900, 9000],
        [64, -1],
    )
    assert [log.facts.texts["served_model"][index] for index in samples["served_model"]] == [
        "gpt",
        "g,x",
    ]
    assert log.facts.texts["note"][samples["note"][1]] == "down, again"
    assert log.columns.schedule["bucket"].tolist() == [0, 2]
    assert log.line.tolist() == [2, 3]
    assert log.unreadable == []
    assert log.metrics == {"e2e", "ttft", "tpot", "output_tps", "uptime", "error_share"}


@pytest.mark.parametrize(
    "times",
    [
        ["1790812800", "1790812801.25"],
        ["1790812800000", "1790812801250"],
        ["1790812800000000000", "1790812801250000000"],
        ["2026-10-01T00:00:00Z", "2026-10-01T00:00:01.25Z"],
        ["2026-09-30 20:00:00-04:00", "2026-09-30 20:00:01.250-04:00"],
    ],
)
def test_times_are_iso_or_unix_in_any_unit(times: list[str], tmp_path: Path) -> None:
    """One second and a quarter after the first of October, whichever way it is written."""
    log = log_of(tmp_path, HEAD + "".join(f"{time},5,200\n" for time in times))
    assert wall_ns(log) == [1_790_812_800_000 * MS, 1_790_812_801_250 * MS]


def test_one_odd_cell_does_not_decide_for_its_column(tmp_path: Path) -> None:
    """A number among ISO times, first of all, is one unreadable row."""
    log = log_of(
        tmp_path,
        HEAD + "1790812800,5,200\n" + "2026-10-01T00:00:00Z,5,200\n2026-10-01T00:00:01Z,5,200\n",
    )
    assert log.line.tolist() == [3, 4]
    assert [(each.line, each.reason) for each in log.unreadable] == [
        (2, "column 'timestamp': '1790812800' cannot be read")
    ]


def test_local_times_need_their_zone(tmp_path: Path) -> None:
    """Without a zone they are refused; with one, summer and winter time are told apart."""
    text = HEAD + "2026-10-24 12:00:00,5,200\n2026-10-26 12:00:00,5,200\n"
    assert "column 'timestamp' holds times without a zone" in refusal(tmp_path, text)
    log = log_of(tmp_path, text, time_zone=ZoneInfo("Europe/Berlin"))
    assert wall_ns(log) == [ns("2026-10-24T10:00Z"), ns("2026-10-26T11:00Z")]


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("duration_ms", "ms"),
        ("duration_s", "s"),
        ("took_ns", "ns"),
        ("latencyMs", "ms"),
        ("elapsed_seconds", "s"),
        ("wait_microseconds", "us"),
        ("duration", None),
        ("requests", None),
        ("status", None),
    ],
)
def test_units_stand_at_the_end_of_a_name(column: str, unit: str | None) -> None:
    """A unit is its own word at the end; plurals and other words are none."""
    assert unit_of(column) == unit


def test_a_length_without_a_unit_is_refused_until_it_is_said(tmp_path: Path) -> None:
    """`duration` may be anything; `latency=duration:s` says what it is, `latency=none` does
    without.
    """
    text = "timestamp,duration,status\n2026-10-01T00:00:00Z,1.5,200\n"
    assert "column 'duration' has no unit; write --column latency=duration:ms" in refusal(
        tmp_path, text
    )
    assert latency_ns(
        log_of(tmp_path, text, columns={"latency": "duration:s"}).columns.samples, "e2e"
    ).tolist() == [1500 * MS]
    assert "e2e" not in log_of(tmp_path, text, columns={"latency": "none"}).metrics


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        (
            "when,status\n1790812800,200\n",
            {},
            (
                "no column says when a request began (columns: when, status); name it: --column"
                " at=NAME"
            ),
        ),
        ("timestamp,duration_ms\n1790812800,5\n", {}, "no column says how a request ended"),
        (
            "timestamp,status\n1790812800,200\n",
            {"at": "when"},
            "has no column 'when' (columns: timestamp, status); correct --column at=...",
        ),
        (
            "timestamp,status\n1790812800,200\n",
            {"speed": "x"},
            "'speed' is no field of a log; known: at, ended",
        ),
        ("timestamp,timestamp,status\n", {}, "two columns are named 'timestamp'"),
        ("", {}, "is empty"),
        ("timestamp,status\n", {}, "holds no request that can be read; the file has no rows"),
        (
            "timestamp,status\nsoon,200\n",
            {},
            "holds no request that can be read; line 2: column 'timestamp': 'soon' cannot be read",
        ),
        ("timestamp,status\n1e999999999,200\n", {}, "'1E+999999999', which is no time"),
        ("timestamp,status\n12,200\n", {}, "'12', which is no time of this century"),
    ],
)
def test_what_is_missing_is_named(
    text: str, columns: dict[str, str], said: str, tmp_path: Path
) -> None:
    """One sentence with the file, the columns that are there and what to write."""
    found = refusal(tmp_path, text, columns=columns)
    assert said in found
    assert "log.csv" in found or "--column" in found


def test_rows_that_cannot_be_read_are_listed_and_the_others_count(tmp_path: Path) -> None:
    """Every line is a row or is listed with its own line number and reason, after cells with line
    breaks too.
    """
    good = "2026-10-01T00:00:00Z,5,200,fine\n"
    log = log_of(
        tmp_path,
        "timestamp,duration_ms,status,error\n"
        + good
        + '2026-10-01T00:00:01Z,5,500,"two\nlines"\n'
        + "\n"
        + "2026-10-01T00:00:02Z,fast,200,\n"
        + "2026-10-01T00:00:03Z,5\n"
        + "2026-10-01T00:00:04Z,5,999,\n"
        + ",5,200,\n"
        + "2026-10-01T00:00:05Z,-2,200,\n"
        + "2026-10-01T00:00:06Z,5,200,\n",
    )
    assert log.line.tolist() == [2, 3, 11]
    assert {each.line: each.reason for each in log.unreadable} == {
        6: "column 'duration_ms': 'fast' cannot be read",
        7: "has 2 values for 4 columns",
        8: "column 'status': '999' is no HTTP status",
        9: "column 'timestamp' has no value",
        10: "column 'duration_ms': '-2' cannot be read",
    }


def test_rows_that_go_back_in_time_are_refused_unless_sorted(tmp_path: Path) -> None:
    """The first offending lines are named; with sort the rows are put in order, each with
    its line.
    """
    text = HEAD + "".join(f"2026-10-01T00:00:{second:02d}Z,5,200\n" for second in (1, 3, 2, 4, 0))
    said = refusal(tmp_path, text)
    assert (
        "line 4 (2026-10-01T00:00:02Z) is earlier than the row before it (2026-10-01T00:00:03Z)"
        in said
    )
    assert "2 rows go back in time: line 4, line 6" in said
    assert "--sort" in said
    assert log_of(tmp_path, text, sort=True).line.tolist() == [6, 2, 4, 3, 5]


def test_a_log_written_at_the_end_is_ordered_by_its_ends(tmp_path: Path) -> None:
    """nginx writes a line when the answer is over: starts may overtake each other, ends may not."""
    text = (
        "time_iso8601,request_time,status\n"
        "2026-10-01T00:00:05Z,1.0,200\n"
        "2026-10-01T00:00:06Z,5.5,504\n"
    )
    log = log_of(tmp_path, text)
    assert wall_ns(log) == [ns("2026-10-01T00:00:00.500Z"), ns("2026-10-01T00:00:04Z")]
    assert log.line.tolist() == [3, 2]
    assert latency_ns(log.columns.samples, "e2e").tolist() == [5500 * MS, 1000 * MS]


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        (
            HEAD,
            ["2026-10-01T00:00:00Z,5,200"] * 2 + ["2026-10-01T00:00:00Z,6,200"],
            "line 3 is the same as line 2; 1 rows are duplicates",
        ),
        (
            "timestamp,id,status\n",
            [
                "2026-10-01T00:00:00Z,a,200",
                "2026-10-01T00:00:01Z,b,200",
                "2026-10-01T00:00:02Z,a,500",
            ],
            "line 4 has the id of line 2; 1 rows are duplicates",
        ),
    ],
)
def test_duplicates_are_refused_dropped_or_kept(
    head: str, rows: list[str], said: str, tmp_path: Path
) -> None:
    """Rows of one id, or equal in every cell where there are no ids.

    Dropping keeps the first and says how many.
    """
    text = head + "\n".join(rows) + "\n"
    assert said in refusal(tmp_path, text)
    dropped = log_of(tmp_path, text, duplicates="drop")
    assert len(dropped.columns) == 2
    assert 2 in dropped.line
    assert dropped.notes == ["1 duplicate rows are left out"]
    assert len(log_of(tmp_path, text, duplicates="keep").columns) == 3


def test_several_files_are_one_log(tmp_path: Path) -> None:
    """Files may come in any order and hold other columns; a row that stands in two of them is a
    duplicate.
    """
    (tmp_path / "b.csv").write_text("timestamp,status,key\n2026-10-01T00:00:05Z,200,k\n")
    with gzip.open(tmp_path / "a.csv.gz", "wt") as handle:
        handle.write(
            "timestamp,status,duration_ms\n2026-10-01T00:00:00Z,200,7\n2026-10-01T00:00:09Z,200,8\n"
        )
    log = read_log([tmp_path / "b.csv", tmp_path / "a.csv.gz"], Reading())
    assert [
        (log.names[file][-6:], line) for file, line in zip(log.file, log.line, strict=True)
    ] == [("csv.gz", 2), ("/b.csv", 2), ("csv.gz", 3)]
    assert latency_ns(log.columns.samples, "e2e").tolist() == [7 * MS, -1, 8 * MS]
    assert log.facts.labels["key"].tolist() == [-1, 0, -1]
    with pytest.raises(UserError, match=r"b\.csv: line 2 is the same as line 2"):
        read_log([tmp_path / "b.csv", tmp_path / "b.csv"], Reading())


def test_json_lines_with_objects_inside(tmp_path: Path) -> None:
    """Dotted names reach into objects; litellm's names and words are known; a broken line is
    listed.
    """
    rows = [
        {
            "startTime": "2026-10-01T00:00:00Z",
            "endTime": "2026-10-01T00:00:02.5Z",
            "completionStartTime": "2026-10-01T00:00:00.25Z",
            "status": "success",
            "model": "m",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        },
        {
            "startTime": "2026-10-01T00:00:01Z",
            "endTime": "2026-10-01T00:00:02Z",
            "status": "failure",
            "usage": None,
        },
    ]
    text = json.dumps(rows[0]) + "\n{oops\n[1]\n" + json.dumps(rows[1]) + "\n"
    log = log_of(tmp_path, text, "log.jsonl")
    samples = log.columns.samples
    assert latency_ns(samples, "e2e").tolist() == [2500 * MS, 1000 * MS]
    assert latency_ns(samples, "ttft").tolist() == [250 * MS, -1]
    assert samples["output_tokens"].tolist() == [5, -1]
    assert outcome_counts(samples) == {"ok": 1, "http_5xx": 1}
    assert log.notes == ["rows that say that they failed, and not how, count as http_5xx"]
    assert [(each.line, each.reason.split(" (")[0]) for each in log.unreadable] == [
        (2, "is not JSON"),
        (3, "is not a JSON object"),
    ]
    assert log.line.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("200", "", Outcome.ok),
        ("302", "", Outcome.ok),
        ("429", "", Outcome.rate_limited),
        ("400", "", Outcome.http_4xx),
        ("500", "x", Outcome.http_5xx),
        ("200", "cut off", Outcome.stream_error),
        ("", "refused", Outcome.stream_error),
        ("", "", Outcome.censored),
        ("0", "", Outcome.censored),
    ],
)
def test_status_and_error_say_how_a_request_ended(
    status: str, error: str, outcome: Outcome, tmp_path: Path
) -> None:
    """An error beside a status below 400 came inside the answer; a row with neither is unknown, not
    served.
    """
    log = log_of(
        tmp_path,
        f"timestamp,status,error\n2026-10-01T00:00:00Z,200,\n2026-10-01T00:00:01Z,{status},{error}\n",
    )
    assert log.columns.samples["outcome"][1] == outcome


def test_parquet_is_read_like_the_others(tmp_path: Path) -> None:
    """Moments with a zone, local ones, numbers and nested fields come through as they do
    from CSV.
    """
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    at = [datetime(2026, 10, 1, 0, 0, second, 250_000, tzinfo=UTC) for second in range(3)]
    usage = [{"prompt_tokens": 7, "completion_tokens": 2}] * 3
    table = {"duration_ms": [1.5, None, 3.0], "status": [200, 500, 200], "usage": usage}
    pq.write_table(pa.table({"timestamp": at, **table}), tmp_path / "zoned.parquet")
    log = read_log([tmp_path / "zoned.parquet"], Reading())
    assert wall_ns(log) == [ns(f"2026-10-01T00:00:0{second}.250Z") for second in range(3)]
    assert latency_ns(log.columns.samples, "e2e").tolist() == [1_500_000, -1, 3 * MS]
    assert log.columns.samples["prompt_tokens"].tolist() == [7, 7, 7]
    pq.write_table(
        pa.table({"timestamp": [each.replace(tzinfo=None) for each in at], **table}),
        tmp_path / "local.parquet",
    )
    assert wall_ns(read_log([tmp_path / "local.parquet"], Reading(time_zone=UTC))) == wall_ns(log)
    with pytest.raises(UserError, match="is not Parquet"):
        log_of(tmp_path, "no", "broken.parquet")


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**7), st.sampled_from([200, 429, 500])),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    """Any rows, in µs, come back exactly and in order of time."""
    rows = sorted(rows)
    text = HEAD + "".join(
        f"{1_790_812_800 + at / 10**6:.6f},{length / 1000:.3f},{status}\n"
        for at, length, status in rows
    )
    log = log_of(tmp_path_factory.mktemp("log"), text, duplicates="keep")
    start = 1_790_812_800 * 10**9
    assert wall_ns(log) == [start + at * 1000 for at, _, _ in rows]
    assert latency_ns(log.columns.samples, "e2e").tolist() == [
        length * 1000 for _, length, _ in rows
    ]
    assert np.array_equal(log.columns.samples["status"], [status for _, _, status in rows])


@pytest.mark.parametrize(
    "stamps",
    [
        # one width and one form each, so that all are read at once, or none is
        ["2026-10-01T00:00:01+00:00", "2026-10-01T02:00:02+02:00"],
        ["2026-10-01T00:00:01Z", "2026-10-01 00:00:02Z"],
        ["2026-10-01T00:00:01.25Z", "2026-10-01T00:00:02.50Z"],
    ],
)
def test_stamps_written_alike_but_for_one(stamps: list[str], tmp_path: Path) -> None:
    """Another zone or another mark in a row of the same width changes no moment."""
    text = HEAD + "".join(f"{stamp},5,200\n" for stamp in stamps)
    assert wall_ns(log_of(tmp_path, text)) == [
        round(datetime.fromisoformat(stamp).timestamp() * 1000) * MS for stamp in stamps
    ]


def test_the_unit_of_unix_times_can_be_said(tmp_path: Path) -> None:
    """By the column's name: seconds although they are of no century near."""
    text = "begun_s,duration_ms,status\n1790812800,5,200\n1790812801,5,200\n"
    assert wall_ns(log_of(tmp_path, text, columns={"at": "begun_s:s"})) == [
        ns("2026-10-01T00:00:00Z"),
        ns("2026-10-01T00:00:01Z"),
    ]


def test_numbers_with_decimal_commas(tmp_path: Path) -> None:
    """Semicolons part the cells: a comma is the decimal mark, points part thousands, and what is
    written neither way is no number.
    """
    text = (
        "timestamp;duration_ms;status\n2026-10-01T00:00:01Z;1.234,5;200\n"
        "2026-10-01T00:00:02Z;12,25;200\n2026-10-01T00:00:03Z;-1;200\n"
    )
    log = log_of(tmp_path, text)
    assert latency_ns(log.columns.samples, "e2e").tolist() == [1_234_500_000, 12_250_000, -1]
    assert len(log_of(tmp_path, text + "2026-10-01T00:00:04Z;1,2,3;200\n").unread_ns) == 1


def test_further_names_become_one(tmp_path: Path) -> None:
    """Of texts that say who served, so many are told apart; the others are one."""
    rows = "".join(f"2026-10-01T00:00:01Z,5,200,m{number}\n" for number in range(40_000))
    log = log_of(tmp_path, HEAD.replace("status", "status,model") + rows, sort=True)
    texts = log.facts.texts["served_model"]
    assert texts[-1] == "(further texts)"
    assert len(texts) < 40_000
    last = log.columns.samples["served_model"][-1]
    assert texts[int(last)] == "(further texts)"
