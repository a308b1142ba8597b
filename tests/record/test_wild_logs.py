"""Logs as tools, spreadsheets and servers write them: nothing is lost, nothing is guessed."""

from __future__ import annotations

import bz2
import json
import lzma
import re
import subprocess
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.record import log_json
from bench.record.request_log import Reading, RequestLog, read_log
from bench.record.samples import latency_ns, outcome_counts
from tests.record.test_request_log import MS, log_of, ns, refusal, wall_ns

AT = "2026-10-01T00:00:0{}Z"


def bytes_log(folder: Path, data: bytes, name: str = "log.csv", **reading: Any) -> RequestLog:
    path = folder / name
    path.write_bytes(data)
    return read_log([path], Reading(**reading))


def ends(log: RequestLog) -> dict[str, int]:
    return outcome_counts(log.columns.samples)


# ---- how a request ended


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("success", "ok"),
        ("OK", "ok"),
        ("200 OK", "ok"),
        ("HTTP/1.1 503 Service Unavailable", "http_5xx"),
        ("5xx", "http_5xx"),
        ("4XX", "http_4xx"),
        ("UNAVAILABLE", "http_5xx"),
        ("StatusCode.RESOURCE_EXHAUSTED", "rate_limited"),
        ("DEADLINE_EXCEEDED", "timeout_total"),
        ("RateLimitError", "rate_limited"),
        ("litellm.RateLimitError", "rate_limited"),
        ("ContextWindowExceededError", "http_4xx"),
        ("InternalServerError", "http_5xx"),
        ("APITimeoutError", "timeout_total"),
        ("APIConnectionError", "reset"),
        ("upstream_error", "http_5xx"),
        ("STATUS_CODE_ERROR", "http_5xx"),
        ("Failed", "http_5xx"),
        ("cancelled", "censored"),
        ("flummoxed", "censored"),
        ("429", "rate_limited"),
    ],
)
@pytest.mark.parametrize("column", ["outcome", "status"])
def test_words_of_an_end(word: str, outcome: str, column: str, tmp_path: Path) -> None:
    """Frameworks' errors, gRPC codes, classes of statuses; a word nobody knows is unknown."""
    log = log_of(tmp_path, f"timestamp,{column},id\n{AT.format(1)},{word},a\n")
    assert ends(log) == {outcome: 1}
    assert any("'flummoxed' (1)" in note for note in log.notes) == (word == "flummoxed")


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"status": "failure", "status_code": 429}, "rate_limited"),
        ({"status": "failure", "error_code": "429"}, "rate_limited"),
        ({"status": "failure", "error_code": "insufficient_quota"}, "rate_limited"),
        (
            {"status": "failure", "metadata": {"error_information": {"error_code": "503"}}},
            "http_5xx",
        ),
        (
            {"status": "failure", "metadata": '{"error_information": {"error_code": "429"}}'},
            "rate_limited",
        ),
        ({"attributes": {"http.response.status_code": 503}}, "http_5xx"),
        ({"status": {"status_code": "ERROR"}}, "http_5xx"),
        ({"Status Code": 429}, "rate_limited"),
        ({"status": "success", "status_code": 500}, "http_5xx"),
        ({"outcome": "success", "error": "cut off"}, "stream_error"),
        ({"outcome": "success", "error": {"reason": "x"}}, "stream_error"),
        ({"status": 200, "error": ["x"]}, "stream_error"),
        ({"status": 200, "error": None, "exception": "boom"}, "stream_error"),
        ({"status": 200, "error": {}}, "ok"),
        ({"status": 200, "error": []}, "ok"),
        ({"status": 200, "error": False}, "ok"),
        ({"status": 200, "error": "None", "error_code": 0}, "ok"),
        ({"success": True}, "ok"),
        ({"success": False}, "http_5xx"),
        ({"status": "cancelled", "error": "context canceled"}, "censored"),
        ({"status": -1}, "censored"),
        ({"status": "NA", "outcome": "null"}, "censored"),
    ],
)
def test_a_sign_of_failure_in_any_column_counts(
    row: dict[str, Any], outcome: str, tmp_path: Path
) -> None:
    """A vague word gives way to the code beside it; `success` never outvotes an error."""
    log = log_of(tmp_path, json.dumps({"timestamp": AT.format(1), **row}), "log.jsonl")
    assert ends(log) == {outcome: 1}


@pytest.mark.parametrize("first", [0, 150, 250, 10_300, 24_999])
@pytest.mark.parametrize("named", [{}, {"error": "error"}])
def test_a_key_that_comes_late_counts(first: int, named: dict[str, str], tmp_path: Path) -> None:
    """The first failure may be behind any number of rows without that key."""
    rows = [
        json.dumps({"timestamp": 1_790_812_800 + i, "status": 200})
        if i < first
        else json.dumps({"timestamp": 1_790_812_800 + i, "status": 200, "error": "cut"})
        for i in range(25_000)
    ]
    found = ends(log_of(tmp_path, "\n".join(rows), "log.jsonl", columns=named))
    assert found.get("stream_error") == 25_000 - first


def test_a_name_that_never_comes_is_refused_at_the_end(tmp_path: Path) -> None:
    """A mistyped --column is no late key."""
    text = json.dumps({"timestamp": AT.format(1), "status": 200})
    said = refusal(tmp_path, text, "log.jsonl", columns={"error": "eror"})
    assert "has no column 'eror'" in said


def test_keys_within_objects_come_late_too(tmp_path: Path) -> None:
    """An object that is null at first."""
    rows = [
        {"timestamp": AT.format(1), "status": "failure", "metadata": None},
        {
            "timestamp": AT.format(2),
            "status": "failure",
            "metadata": {"error_information": {"error_code": "429"}},
        },
    ]
    log = log_of(tmp_path, "\n".join(map(json.dumps, rows)), "log.jsonl")
    assert ends(log) == {"http_5xx": 1, "rate_limited": 1}


# ---- cells


@pytest.mark.parametrize(
    "cell", ["", "-", "-1", "-1.0", "NA", "N/A", "null", "NaN", "\\N", " nil "]
)
def test_no_value_is_unknown(cell: str, tmp_path: Path) -> None:
    """Of a length and a count: not recorded, neither zero nor unreadable."""
    log = log_of(
        tmp_path,
        f"timestamp,duration_ms,prompt_tokens,status\n{AT.format(1)},{cell},{cell},200\n",
    )
    assert latency_ns(log.columns.samples, "e2e").tolist() == [-1]
    assert log.columns.samples["prompt_tokens"].tolist() == [-1]
    assert log.unreadable == []


@pytest.mark.parametrize(
    ("text", "took_ms"),
    [
        ("timestamp;duration_ms;status\n{};800,5;200\n", 800.5),
        ("timestamp;duration_ms;status\n{};1.800,5;200\n", 1800.5),
        ("timestamp;duration_ms;status\n{};800;200\n", 800),
        ('timestamp,duration_ms,status\n{},"800,5",200\n', 800.5),
        ("timestamp\tduration_ms\tstatus\n{}\t800,25\t200\n", 800.25),
        ("timestamp|duration_ms|status\n{}|800.25|200\n", 800.25),
        ("sep=;\ntimestamp;duration_ms;status\n{};800,5;200\n", 800.5),
        ("# exported\n\ntimestamp,duration_ms,status,,\n{},7,200,,\n", 7),
        ('timestamp,duration_ms,status\n{},"1,800",200\n', None),
        ("timestamp;duration_ms;status\n{0};1.800;200\n{0};7,5;200\n", None),
    ],
)
def test_separators_and_decimal_commas(text: str, took_ms: float | None, tmp_path: Path) -> None:
    """A comma or a point that may part thousands is unreadable, and never a thousandth."""
    good = re.sub(r'"?1[.,]800"?', "9", text.splitlines()[-1]).format(AT.format(3))
    log = log_of(tmp_path, text.format(AT.format(1)) + good)
    took = latency_ns(log.columns.samples, "e2e").tolist()
    if took_ms is None:
        assert "cannot be read" in log.unreadable[0].reason
    else:
        assert took[0] == took_ms * MS


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding: str, end: str, tmp_path: Path) -> None:
    """Texts and lines are the same in each."""
    lines = ["timestamp;status;model", f"{AT.format(1)};200;Zoë", f"{AT.format(2)};500;Zoè", ""]
    log = bytes_log(tmp_path, end.join(lines).encode(encoding))
    assert ends(log) == {"ok": 1, "http_5xx": 1}
    assert log.facts.texts["served_model"] == ["Zoë", "Zoè"]
    assert log.line.tolist() == [2, 3]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_packed_by_any_name(pack: Any, tmp_path: Path) -> None:
    """By its first bytes, whatever it is called."""
    assert ends(bytes_log(tmp_path, pack(f"at,status\n{AT.format(1)},200\n".encode()))) == {"ok": 1}


@pytest.mark.parametrize(
    "cell", ["x" * 200_000, "y" * 3_000_000, '"' + "two\nlines" * 30_000 + '"']
)
def test_a_huge_cell_is_a_cell(cell: str, tmp_path: Path) -> None:
    """Prompts and stack traces stand in logs; of a text only the beginning is kept."""
    log = log_of(
        tmp_path, f"timestamp,status,error\n{AT.format(1)},500,{cell}\n{AT.format(2)},200,\n"
    )
    assert ends(log) == {"http_5xx": 1, "ok": 1}
    assert len(log.facts.texts["note"][0]) < 1_100


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_line_without_an_end_is_one_unreadable_row(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never held whole, and those behind it are read."""
    for module in ("bench.record.log_json", "bench.record.log_csv"):
        monkeypatch.setattr(f"{module}.LONGEST", 1000)
        monkeypatch.setattr(f"{module}._READ", 300, raising=False)
    row = '{{"at": "{}", "status": 200}}\n' if name.endswith("l") else "{},200\n"
    text = row.format(AT.format(1)) + "x" * 50_000 + "\n" + row.format(AT.format(2))
    log = log_of(tmp_path, ("" if name.endswith("l") else "at,status\n") + text, name)
    assert len(log.columns) == 2
    assert ["1,000 characters" in each.reason for each in log.unreadable] == [True]


# ---- nothing is lost


@pytest.mark.parametrize(
    ("broken", "read", "refused"),
    [
        ('{0},500,"never closed\n{1},500,x\n{2},500,x\n', 2, 1),
        ('{0},500,"never closed\n{1},500,x\n{2},500,"closed"\n', 2, 1),
        ('{0},500,"open\n{1},500,x\n{2},500,end"\n', 1, 2),
        ('{0},500,"say "hi" now"\n{1},500,x\n{2},500,x\n', 3, 0),
        ('{0},500,5" pipe\n{1},500,x\n{2},500,x\n', 3, 0),
        ("{0},500\n{1},500,x,y\n{2},500,x\n", 1, 2),
        ("garbage\n{1},500,x\n{2},500,x\n", 2, 1),
    ],
)
def test_a_broken_row_costs_itself_alone(
    broken: str, read: int, refused: int, tmp_path: Path
) -> None:
    """A quote that is left open does not swallow the failures behind it."""
    good = f"{AT.format(0)},200,\n"
    rows = broken.format(*(AT.format(i) for i in (1, 2, 3)))
    log = log_of(tmp_path, "timestamp,status,error\n" + good + rows)
    assert (ends(log).get("http_5xx"), len(log.unreadable)) == (read, refused)
    assert log.rows_in == 1 + read + refused


def test_an_unreadable_row_has_a_moment(tmp_path: Path) -> None:
    """Its own where it can be read, else that of the row before it, or behind it."""
    log = log_of(
        tmp_path,
        f"timestamp,status\noops\n{AT.format(1)},200\n{AT.format(3)},999\nsoon,200\n{AT.format(5)},200\n",
    )
    assert [at - ns("2026-10-01T00:00:00Z") for at in log.unread_ns.tolist()] == [
        1_000 * MS,
        1_000 * MS,
        3_000 * MS,
    ]
    assert [each.line for each in log.unreadable] == [2, 4, 5]


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6]), min_size=1, max_size=40))
def test_every_line_is_a_row_or_is_listed(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int]
) -> None:
    """Whatever stands beside what."""
    shapes = [
        "{},200,a",
        "{},500,b",
        "never,200,c",
        "{},999,d",
        "{},200",
        '{},200,"e',
        '{},429,"f""f"',
    ]
    lines = [shapes[kind].format(f"2026-10-01T00:00:{i:02}Z") for i, kind in enumerate([0, *kinds])]
    log = log_of(tmp_path_factory.mktemp("l"), "\n".join(["at,status,error", *lines, ""]))
    assert log.rows_in == len(lines)
    assert sorted({*log.line.tolist()} | {each.line for each in log.unreadable}) == list(
        range(2, len(lines) + 2)
    )
    assert len(log.columns) == len([0, *(k for k in kinds if k in (0, 1, 6))])


# ---- the clock


def hours(*told: tuple[int, int]) -> str:
    rows = [
        f"2026-10-25 {hour:02}:{minute:02}:00,{status}"
        for hour, status in told
        for minute in range(0, 60, 10)
    ]
    return "timestamp,status\n" + "\n".join(rows) + "\n"


def test_the_order_of_a_log_tells_two_equal_hours_apart(tmp_path: Path) -> None:
    """One step back in the night in which the clocks go back is the clock's."""
    zone = ZoneInfo("Europe/Berlin")
    log = log_of(tmp_path, hours((1, 200), (2, 200), (2, 500), (3, 200)), time_zone=zone)
    begun = wall_ns(log)
    assert begun == [ns("2026-10-24T23:00Z") + i * 600_000 * MS for i in range(24)]
    assert log.columns.samples["status"].tolist() == [200] * 12 + [500] * 6 + [200] * 6


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        (hours((1, 200), (2, 200), (2, 500), (3, 200)), {"sort": True, "duplicates": "keep"}),
        (hours((1, 200), (2, 500), (3, 200)), {}),
    ],
)
def test_an_hour_that_comes_twice_is_not_guessed(
    text: str, reading: dict[str, Any], tmp_path: Path
) -> None:
    """Without an order, or with one hour only, its rows may be of either."""
    log = log_of(tmp_path, text, time_zone=ZoneInfo("Europe/Berlin"), **reading)
    assert len(log.columns) == 12
    assert {each.reason for each in log.unreadable} == {
        "falls into the hour that comes twice, and does not say into which of the two"
    }
    assert "hour that comes twice" in log.notes[0]


def test_an_hour_that_does_not_come_is_unreadable(tmp_path: Path) -> None:
    """02:30 in the night in which the clocks go forward."""
    text = "at,status\n2026-03-29 01:30:00,200\n2026-03-29 02:30:00,200\n"
    log = log_of(tmp_path, text, time_zone=ZoneInfo("Europe/Berlin"))
    assert [each.line for each in log.unreadable] == [3]


@pytest.mark.parametrize(
    "text",
    [
        "01/Oct/2026:00:00:01 +0000",
        "[01/Oct/2026:02:00:01 +0200]",
        "2026-10-01 00:00:01 UTC",
        "2026-10-01 00:00:01 +0000",
        "2026-10-01 00:00:01+00",
        "2026/10/01 00:00:01Z",
        "Thu, 01 Oct 2026 00:00:01 GMT",
        "2026-10-01T00:00:01.000000000Z",
        " 2026-10-01T00:00:01Z ",
        "2026-10-01T05:30:01+05:30",
    ],
)
def test_dates_as_servers_write_them(text: str, tmp_path: Path) -> None:
    """All of one second."""
    log = log_of(tmp_path, f'at,status\n"{text}",200\n')
    assert wall_ns(log) == [ns("2026-10-01T00:00:01Z")]


@pytest.mark.parametrize(
    "wrong", ["2026-02-30T00:00:00Z", "2026-10-01T24:30:00Z", "2026-10-01", "46296.5", "10/01/2026"]
)
def test_a_date_that_is_none_is_unreadable(wrong: str, tmp_path: Path) -> None:
    """Also among texts that are all written alike."""
    text = f"at,status\n{AT.format(1)},200\n{wrong},200\n{AT.format(2)},200\n"
    assert [each.line for each in log_of(tmp_path, text).unreadable] == [3]


def test_never_is_written_in_many_ways(tmp_path: Path) -> None:
    """A first token that did not come: 0, -1, the year 1."""
    for never in ("0", "-1", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"):
        text = f"at,first_token_at,status\n{AT.format(1)},{never},200\n"
        log = log_of(tmp_path, text)
        assert latency_ns(log.columns.samples, "ttft").tolist() == [-1]
        assert log.unreadable == []


# ---- shapes of files

ROWS = [{"timestamp": AT.format(i), "status": 200 + i, "error": 'a "b", [{c'} for i in range(5)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
        json.dumps(ROWS[:2]) + "\n" + json.dumps(ROWS[2:]),
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        "".join("\x1e" + json.dumps(row) + "\n" for row in ROWS),
        "\ufeff" + "\r\n".join(map(json.dumps, ROWS)),
    ],
)
@pytest.mark.parametrize("block", [7, 1 << 20])
@pytest.mark.parametrize("name", ["log.json", "log.txt"])
def test_json_in_every_form(
    text: str, block: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays, objects over several lines, one a line: the same rows, however they are read."""
    monkeypatch.setattr(log_json, "_BLOCK", block)
    log = log_of(tmp_path, text, name)
    assert log.columns.samples["status"].tolist() == [200, 201, 202, 203, 204]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(ROWS)[:-9], "object 5 is not JSON or breaks off"),
        ('[{"timestamp": 1}, {oops}]', "object 2 is not JSON"),
        (json.dumps({"total": 5, "data": ROWS}), "jq -c '.data[]' "),
        (json.dumps({"hits": {"hits": [{"_source": ROWS[0]}]}}), "jq -c '.hits.hits[]._source' "),
        (json.dumps({"resourceSpans": []}), "OTLP"),
        (json.dumps({"resourceLogs": []}), "OTLP"),
        ("[" * 100_000, "is not JSON"),
        (f"{AT.format(1)},200,5\n{AT.format(2)},200,5\n", "has no header line"),
        ("1790812800,200,5\n", "has no header line"),
        ("[Wed Oct 11 14:32:52 2026] [core:error] [pid 1] no file\n", "is not a table"),
        ("[2026-10-01 00:00:00] ERROR no\n", "is not a table"),
        (",".join(f"c{n}" for n in range(100_001)) + "\n", "more than 100,000 columns"),
        ("at,status\n" + "x\n" * 100_002, "100,001 rows up to line 100,002 cannot be taken"),
        ("2026-10-01 INFO request served in 5 ms\n", "is not a table"),
        ("2026-10-01 00:00:01,123 INFO proxy: POST /v1 200\n", "is not a table"),
        ("at                   status\n2026-10-01T00:00:00Z 200\n", "is not a table"),
        ("time=2026 level=info status=200\n", "logfmt"),
        ("Oct  1 00:00:01 host nginx[12]: served\n", "syslog"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("<html><body>Sign in</body>", "XML or HTML"),
        ("#Version: 1.0\n#Fields: c-ip\n1\n", "W3C"),
    ],
)
def test_what_is_no_table_is_named(text: str, said: str, tmp_path: Path) -> None:
    """One sentence: what it is, and what to do."""
    found = refusal(tmp_path, text, "log.txt")
    assert said in found
    assert "; " in found


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"\x28\xb5\x2f\xfdrest", "zstd -d"),
        (b"SQLite format 3\x00", "sqlite3"),
        (b"Obj\x01", "Avro"),
        (b"ARROW1", "Arrow"),
        (b"ORC", "ORC"),
        (bz2.compress(b"\0" * 257 + b"ustar\0" + b"\0" * 300), "tar"),
    ],
)
def test_what_is_no_text_is_named(head: bytes, said: str, tmp_path: Path) -> None:
    """By its first bytes."""
    with pytest.raises(UserError, match=said):
        bytes_log(tmp_path, head)


ALB = (
    "https 2026-10-01T00:00:0{}.186641Z app/lb/50 192.0.2.1:2817 10.0.0.1:80 {} 0.501 0.001 {} 200"
    ' 34 366 "POST https://a.example:443/v1/x HTTP/1.1" "curl/8" - - arn "Root=1" "-" "-" 0 -\n'
)
CLASSIC = (
    "2026-10-01T00:00:0{}.186641Z lb 192.0.2.1:2817 10.0.0.1:80 {} 0.501 0.001 {} 200 34 366"
    ' "POST http://a.example:80/v1/x HTTP/1.1" "curl/8" - -\n'
)
COMBINED = '192.0.2.1 - - [01/Oct/2026:00:00:0{}{} +0000] "GET /a \\"b\\" HTTP/1.1" {} 5 "-" "c"\n'


@pytest.mark.parametrize(
    ("text", "times", "took_ms"),
    [
        (ALB, ("0.100", "-1", "0.100"), [602, -1, 602]),
        (CLASSIC, ("0.100", "-1", "0.100"), [602, -1, 602]),
        (COMBINED, ("", "", ""), [-1, -1, -1]),
    ],
)
def test_the_command_that_is_named_makes_a_log(
    text: str, times: tuple[str, ...], took_ms: list[int], tmp_path: Path
) -> None:
    """Access logs in text: what the sentence says works, and loses no line."""
    rows = [
        text.format(i, *each) for i, each in enumerate(zip(times, (200, 504, 429), strict=True))
    ]
    said = refusal(tmp_path, "".join(rows) + "\x16\x03\x01 no request at all\n", "access.log")
    command = re.search(r"\(echo .*?> log\.csv", said)
    assert command
    subprocess.run(["bash", "-c", command[0]], cwd=tmp_path, check=True)
    log = read_log([tmp_path / "log.csv"], Reading())
    assert sorted(log.columns.samples["status"].tolist()) == [200, 429, 504]
    assert sorted(latency_ns(log.columns.samples, "e2e").tolist()) == sorted(
        each * MS if each >= 0 else -1 for each in took_ms
    )
    assert log.rows_in == 4


def test_a_cloudfront_log_is_read(tmp_path: Path) -> None:
    """Names from #Fields, date and time of the end in two columns, seconds; 000 is no status."""
    fields = "date time x-edge-location sc-bytes cs-method cs-uri-stem sc-status time-taken"
    rows = [
        f"2026-10-01\t00:00:0{i}\tFRA2\t5\tPOST\t/v1/x\t{status}\t0.512\n"
        for i, status in enumerate(("200", "503", "000"), 5)
    ]
    head = f"#Version: 1.0\n#Fields: {fields}\n"
    log = log_of(tmp_path, head + rows[0] + head + rows[1] + rows[2], "E2.tsv")
    assert ends(log) == {"ok": 1, "http_5xx": 1, "censored": 1}
    assert wall_ns(log)[0] == ns("2026-10-01T00:00:04.488Z")
    assert log.line.tolist() == [3, 6, 7]


def test_the_log_of_iis_has_milliseconds_and_spaces(tmp_path: Path) -> None:
    """The same format with another unit, which its own fields tell."""
    log = log_of(
        tmp_path,
        "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n"
        "#Fields: date time cs-uri-stem sc-status sc-win32-status time-taken\n"
        "2026-10-01 00:00:05 /v1/x 200 0 512\n",
        "u_ex.log",
    )
    assert wall_ns(log) == [ns("2026-10-01T00:00:04.488Z")]


def test_a_date_beside_a_time_of_day(tmp_path: Path) -> None:
    """Two columns of a spreadsheet."""
    text = "Date;Time;Status\n2026-10-01;00:00:01;200\n"
    assert wall_ns(log_of(tmp_path, text, time_zone=ZoneInfo("UTC"))) == [
        ns("2026-10-01T00:00:01Z")
    ]
