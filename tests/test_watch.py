"""A watch over days: what its folders say, whatever ended it, and what it tells people
meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.app.watch import WAITED, Terms, Watch
from bench.app.watch_plan import probing, resolution
from bench.app.watch_records import (
    Recorder,
    WatchedRuns,
    _as_known,
    day_of,
    only_watch,
    overall,
    status,
    watched_now,
)
from bench.cli import main
from bench.clock import wall_ns
from bench.errors import TargetUnreachable, UserError
from bench.judge.census.census import census
from bench.judge.census.standing import changes, joined, standing, with_period
from bench.load.generator import run_loop
from bench.plan.contract import Contract
from bench.plan.suite import Suite, load_suite
from bench.record.facts import Facts
from bench.record.records.watch import ProbeRow, TargetStanding, Today, WatchEvent, WatchStatus
from bench.record.request_log import RequestLog
from bench.record.run_folder import Run
from bench.record.samples import SCHEDULE_DTYPE, Columns, Outcome, empty_samples
from bench.show.watch import watch_result
from bench.units import MS, S
from tests.support.patience import STEP_S
from tests.support.screens import result_lines
from tests.support.status_by_turn import provider

ROOT = Path(__file__).resolve().parents[1]
MINUTE = 60 * S
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * S
GATEWAY = """
description = "answers at once"
seed = 3
[[gateway.model]]
name = "*"
pool = "p"
[[gateway.pool]]
name = "p"
ttft = { fixed = "5ms" }
gap = { fixed = "1ms" }
[truth]
says = "it answers"
"""
#: Stays alive and probes; its day ends every `sys.argv[4]` s. Says what it is told.
WATCHER = """
import sys
from fractions import Fraction
from pathlib import Path
from bench.load.generator import run_loop
from bench.plan.suite import load_suite
from bench.units import S
from bench.app.watch import Terms, Watch
from bench.app.watch_plan import probing
suite, folder, hook, day = sys.argv[1:]
length = int(float(day) * S)
def roll(now):
    return (now // length + 1) * length
def tell(text):
    print(text, flush=True)
terms = Terms(Path(folder), hook=(sys.executable, hook), roll=roll)
async def main():
    await Watch(probing(load_suite(suite), Fraction(10), None), terms, tell).go_on()
run_loop(main)
"""
#: Appends what it is told to the file that its environment names.
HOOK = (
    "import json, os, sys\nrecord = json.load(sys.stdin)\nassert record['event'] =="
    " os.environ['TAILPROOF_EVENT']\nopen(os.environ['HEARD'], 'a').write(json.dumps(record) +"
    " chr(10))\n"
)


def contract(**clause: Any) -> Contract:
    """One clause, by the month."""
    text = {
        "title": "c",
        "name": "c",
        "period": {"kind": "calendar_month", "time_zone": "UTC"},
        "clause": [clause],
    }
    return Contract.model_validate(text)


def log_of(
    start_ns: int, ends: str, every_ns: int = 30 * S, run: str = "run", notes: tuple[str, ...] = ()
) -> RequestLog:
    """Probes evenly apart: `.` answered, `x` failed (503), `?` never sent; a blank was never due.

    Notes by number.
    """
    places = [place for place, end in enumerate(ends) if end != " "]
    schedule, samples = np.zeros(len(places), SCHEDULE_DTYPE), empty_samples(len(places))
    due = np.array(places, np.int64) * every_ns
    for name in ("due_ns", "slot_free_ns", "sent_ns"):
        samples[name] = due
    samples["done_ns"] = due + 100 * MS
    samples["outcome"] = [
        {".": Outcome.ok, "x": Outcome.http_5xx, "?": Outcome.never_sent}[ends[place]]
        for place in places
    ]
    samples["note"] = np.arange(len(places)) if notes else -1
    return RequestLog(
        Columns(schedule, samples),
        Facts(start_ns, texts={"note": notes}),
        [run],
        np.zeros(len(places), np.int64),
        np.arange(1, len(places) + 1),
        [],
        frozenset({"e2e", "uptime", "error_share"}),
        {},
        [],
    )


# ---- time


def test_a_day_begins_at_midnight_of_its_zone_and_may_be_longer() -> None:
    """Berlin's 25 October 2026 has 25 hours; UTC's has 24; the last ns of a day is still of it."""
    noon = int(datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp()) * S
    name, start, end = day_of(noon, ZoneInfo("Europe/Berlin"))
    assert (name, end - start) == ("2026-10-25", 25 * 3600 * S)
    assert start == int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp()) * S
    assert day_of(noon, ZoneInfo("UTC"))[2] - day_of(noon, ZoneInfo("UTC"))[1] == 24 * 3600 * S
    assert (
        day_of(end - 1, ZoneInfo("Europe/Berlin"))[0],
        day_of(end, ZoneInfo("Europe/Berlin"))[0],
    ) == (
        "2026-10-25",
        "2026-10-26",
    )


# ---- where it stands


def test_runs_are_one_log_with_time_between_them_unobserved() -> None:
    """Two runs of ten minutes, an hour apart: 20 of 43,200 minutes observed; the texts are those of
    their own runs.
    """
    first = log_of(NOVEMBER, ". " * 10, 30 * S, "a", tuple(f"a{n}" for n in range(10)))
    second = log_of(NOVEMBER + 3600 * S, ". " * 10, 30 * S, "b", tuple(f"b{n}" for n in range(10)))
    whole = joined([second, first])
    assert [whole.names[file] for file in whole.file] == ["a"] * 10 + ["b"] * 10
    assert [whole.facts.texts["note"][n] for n in whole.columns.samples["note"]] == [
        f"a{n}" for n in range(10)
    ] + [f"b{n}" for n in range(10)]
    at = whole.columns.samples["due_ns"] + whole.facts.start_wall_ns
    assert at.tolist() == [NOVEMBER + n * MINUTE for n in range(10)] + [
        NOVEMBER + 3600 * S + n * MINUTE for n in range(10)
    ]
    (period,) = census(
        whole, contract(metric="uptime", share="99%", method="minute_all_fail")
    ).record.periods
    assert (period.observed_minutes, period.minutes, period.clauses[0].verdict) == (
        20,
        43_200,
        "INCONCLUSIVE",
    )


def events(earlier: TargetStanding, later: TargetStanding) -> dict[str, WatchEvent]:
    """What changed, by the name of the event."""
    return {event.event: event for event in changes(earlier, later)}


@pytest.mark.parametrize(("minutes", "verdict"), [(43, "INCONCLUSIVE"), (44, "FAIL")])
def test_a_breach_is_what_no_rest_of_the_month_can_mend(minutes: int, verdict: str) -> None:
    """Of 43,200 minutes 43 may be down; the 44th is a breach, told with budget and evidence, and
    November's own.
    """
    promise = contract(metric="uptime", share="99.9%", method="minute_all_fail")
    quiet, down = "." * 120, "x" * (2 * minutes)
    before = standing(
        log_of(NOVEMBER, quiet), promise, NOVEMBER + 60 * MINUTE, ("2026-11-01", NOVEMBER)
    )
    now = NOVEMBER + (60 + minutes) * MINUTE
    later = standing(log_of(NOVEMBER, quiet + down), promise, now, ("2026-11-01", NOVEMBER))
    assert later.period is not None
    (told,) = later.period.clauses
    assert told.verdict == verdict
    assert told.budget_used == pytest.approx(minutes / 43.2)
    assert told.best is not None
    assert told.worst is not None
    assert told.best.share == pytest.approx(1 - minutes / 43_200)
    assert told.worst.share == pytest.approx(60 / 43_200)
    found = events(before, later)
    assert ("breach" in found) == (verdict == "FAIL")
    assert {"outage", "budget"} <= found.keys()
    assert found["outage"].start_utc == "2026-11-01T01:00:00Z"
    assert found["outage"].evidence[-1] == ProbeRow(run="run", line=120 + 2 * minutes)
    # burn of the last hour: all bad minutes within 60, over 0.1 %
    assert told.burn[0].long_rate == pytest.approx(minutes / 60 / 0.001)
    left = (1 - minutes / 43.2) * 30 * 86400 / (minutes / 60 / 0.001)
    assert told.budget_lasts_s == pytest.approx(max(left, 0), abs=1)
    december = standing(
        log_of(NOVEMBER, quiet + down + " " * (30 * 2880 - 120 - 2 * minutes) + "...."),
        promise,
        NOVEMBER + 30 * 86400 * S + 2 * MINUTE,
        ("2026-12-01", NOVEMBER + 30 * 86400 * S),
    )
    assert december.period is not None
    assert december.period.period == "2026-12"
    assert ("recovery" in events(later, december)) == (verdict == "FAIL")


def test_an_outage_by_the_contract_ends_with_the_minute_that_is_up_again() -> None:
    """Five minutes over 5 % errors are one for the clause that asks for five in a row, four are
    none.
    """
    promise = contract(
        metric="uptime", share="99.5%", method="downtime_minutes", error_rate="5%", minutes=5
    )
    at = ("2026-11-01", NOVEMBER)

    def record(ends: str) -> TargetStanding:
        return standing(log_of(NOVEMBER, ends), promise, NOVEMBER + len(ends) * 30 * S, at)

    up, four, five, over = (
        record("." * 20 + tail) for tail in ("", "xx" * 4, "xx" * 5, "xx" * 5 + "..")
    )
    assert "outage" not in events(up, four)
    assert events(four, five)["outage"].start_utc == "2026-11-01T00:10:00Z"
    assert [*events(five, over)] == ["outage_end"]


def test_today_counts_its_own_probes_and_outages() -> None:
    """A quarter of an hour astride midnight: of today are 10 probes, 4 failed, 1 unknown, the
    outage that reaches into it.
    """
    record = standing(
        log_of(NOVEMBER - 10 * MINUTE, "........xxxxxx?.....", MINUTE),
        None,
        NOVEMBER + 10 * MINUTE,
        ("2026-11-01", NOVEMBER),
    )
    assert record.today == Today(
        day="2026-11-01",
        probes=10,
        failed=4,
        unknown=1,
        observed_minutes=10,
        minutes=10,
        outages=1,
    )
    (outage,) = record.outages.last
    assert (outage.start_utc, outage.end_utc, outage.failed_probes) == (
        "2026-10-31T23:58:00Z",
        "2026-11-01T00:05:00Z",
        6,
    )
    assert record.period is None


def test_a_contract_without_a_period_is_held_to_calendar_months() -> None:
    """Without one the census would end with the last row and forget the rest of the month."""
    bare = Contract.model_validate(
        {"title": "c", "clause": [{"metric": "uptime", "share": "99.9%"}]}
    )
    record = standing(
        log_of(NOVEMBER, "." * 10), bare, NOVEMBER + 5 * MINUTE, ("2026-11-01", NOVEMBER)
    )
    assert record.period is not None
    assert (record.period.minutes, record.period.overall) == (43_200, "INCONCLUSIVE")
    assert (
        with_period(contract(metric="uptime", share="99%")).period
        == contract(metric="uptime", share="99%").period
    )


def test_the_status_in_words_says_what_burns_and_what_was_not_watched() -> None:
    """44 minutes down of 43 allowed: the verdict, both bounds, the budget, a firing alert and the
    evidence, in 100 columns.
    """
    promise = contract(metric="uptime", share="99.9%", method="minute_all_fail")
    record = standing(
        log_of(NOVEMBER, "." * 120 + "x" * 88),
        promise,
        NOVEMBER + 104 * MINUTE,
        ("2026-11-01", NOVEMBER),
    )
    whole = WatchStatus(
        format=1,
        folder="out",
        now_utc="2026-11-01T01:44:00Z",
        watched_now=True,
        next_roll_utc="2026-11-02T00:00:00Z",
        targets={"t": record},
        unreadable=["a piece"],
    )
    lines = result_lines(watch_result(whole), 100, whole=True)
    words = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 100
    for said in (
        "104 of 43,200 minutes observed",
        "FAIL so far: t, ",
        "0.139 % at worst, 99.898 % at best; promised 99.9 %",
        "error budget used 101.9 %; none of it is left",
        "page above 14.4: FIRING",
        "2026-11-01T01:00:00Z – now · 88 failed probes; run line 121",
        "a piece; its time counts as unobserved",
    ):
        assert said in words, said


# ---- what is refused


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """A gateway's base URL, without `/v1`."""
    (tmp_path / "provider.toml").write_text(GATEWAY)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.gateway",
            "--scenarios",
            str(tmp_path / "provider.toml"),
            "--port",
            "0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"] + "/provider"
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture
def suite_to(tmp_path: Path) -> Callable[..., Path]:
    """Writes a suite of one target."""

    def write(url: str, target: str = "", stage: str = 'contract = "written-uptime"') -> Path:
        (tmp_path / "target.toml").write_text(
            f'description = "t"\nname = "t"\nbase_url = "{url}/v1"\nmodel = "m"\n{target}\n'
        )
        (tmp_path / "suite.toml").write_text(
            'description = "s"\n[[stage]]\nname = "one"\ntargets = ["target.toml"]\nprofile ='
            f' "steady"\n{stage}\n'
        )
        return tmp_path / "suite.toml"

    return write


def watched(
    suite: Suite, terms: Terms, begun: Callable[[Watch], object] = lambda _: None
) -> list[str]:
    """Watch in this process, which `begun` is given; what it told."""
    told: list[str] = []

    async def go() -> None:
        watch = Watch(suite, terms, told.append)
        begun(watch)
        await watch.go_on()

    run_loop(go)
    return told


def test_what_cannot_be_watched_is_refused(suite_to: Callable[..., Path], tmp_path: Path) -> None:
    """Several stages, a provider that ends with the run, a closed loop, a day dearer than allowed:
    each with its reason.
    """
    with pytest.raises(UserError, match="several stages"):
        probing(load_suite("field-guide"), Fraction(1), None)
    with pytest.raises(UserError, match="embedded target"):
        probing(load_suite("vanity-average"), Fraction(1), None)
    prices = (
        '[prices]\ninput_usd_per_million = "1"\noutput_usd_per_million = "2"\nas_of ='
        ' 2026-11-23\nsource = "s"'
    )
    # steady asks for 64 tokens in and 16 out: 96 millionths of a USD a probe, 2,880 probes a day,
    # 0.276 USD
    suite = probing(load_suite(str(suite_to("http://127.0.0.1:9", prices))), Fraction(1, 30), None)
    told: list[str] = []
    dear = Watch(suite, Terms(tmp_path / "out", max_usd_per_day=Decimal("0.27")), told.append)
    with pytest.raises(UserError, match=r"up to 0\.276 USD, above 0\.27"):
        run_loop(dear.go_on)
    assert told == []
    bare = probing(load_suite(str(suite_to("http://127.0.0.1:9"))), Fraction(1, 30), None)
    with pytest.raises(UserError, match="no prices"):
        watched(bare, Terms(tmp_path / "out", max_usd_per_day=Decimal(1)))
    assert not (tmp_path / "out").exists()


def test_probes_too_far_apart_for_a_clause_are_told_of(suite_to: Callable[..., Path]) -> None:
    """Gemini's 5 % needs 20 probes a minute; at one in two minutes most minutes are unobserved."""
    suite = load_suite(
        str(suite_to("http://127.0.0.1:9", stage='contract = "google-gemini-vertex"'))
    )
    assert "20 a minute would do" in resolution(probing(suite, Fraction(1, 30), None))[-1]
    assert len(resolution(probing(suite, Fraction(20, 60), None))) == 1
    assert "unobserved" in resolution(probing(suite, Fraction(1, 120), None))[1]


def test_two_watchers_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second is told so while the first holds the folder, and may have it afterwards."""
    with only_watch(tmp_path / "out"):
        assert watched_now(tmp_path / "out")
        program = (
            "import sys; from pathlib import Path; from bench.app.watch_records import only_watch\n"
            "with only_watch(Path(sys.argv[1])): pass"
        )
        second = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "out")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "another watch writes to this folder" in second.stderr
    assert not watched_now(tmp_path / "out")
    with only_watch(tmp_path / "out"):
        pass


def test_a_target_that_never_answered_ends_a_first_watch_and_no_later_one(
    suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """A wrong address is said at once; a provider that is down when the watch is started again is
    data.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    suite = probing(load_suite(str(suite_to(f"http://127.0.0.1:{port}"))), Fraction(10), None)
    terms = Terms(tmp_path / "out", lasts_ns=1 * S)
    with pytest.raises(TargetUnreachable):
        watched(suite, terms)
    earlier = tmp_path / "out" / "2026-01-01" / "run"
    earlier.mkdir(parents=True)
    (earlier / "run.json").write_text("{}")
    told = watched(suite, terms)
    assert any("does not answer" in text for text in told)
    log = WatchedRuns(tmp_path / "out").logs()["t"]
    assert {Outcome(value) for value in log.columns.samples["outcome"]} == {Outcome.refused}
    assert len(log.columns) == 10


# ---- whole watches


def change(gateway: str, **what: Any) -> None:
    """Post a change to the gateway's admin endpoint."""
    url = gateway.removeprefix("http://")
    host, _, path = url.partition("/")
    connection = HTTPConnection(host, timeout=STEP_S)
    connection.request("POST", f"/{path}/change", json.dumps(what))
    assert connection.getresponse().status == 200
    connection.close()


def heard(path: Path) -> list[dict[str, Any]]:
    """What the hook was told so far of failed probes in a row; the contract has definitions of its
    own.
    """
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [record for record in records if "definition" in record]


class Watcher:
    """A watch in a process of its own, waited for by what it says."""

    def __init__(self, suite: Path, folder: Path, day_s: float, hook: Path, heard_in: Path):
        command = [sys.executable, "-c", WATCHER, str(suite), str(folder), str(hook), str(day_s)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HEARD": str(heard_in)},
        )

    def wait_for(self, word: str) -> str:
        """The next line with this word."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if word in line)

    def end(self, kind: signal.Signals) -> int:
        """Signal it and wait."""
        self.process.send_signal(kind)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(STEP_S)


def test_an_outage_a_kill_and_a_new_start(
    gateway: str, suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """The provider fails, the watcher is killed amid it, goes on, and the provider heals: one
    outage, told once, no probe lost but the last second's, and a census that equals the count of
    rows by hand.
    """
    suite, folder, hook, told = (
        suite_to(gateway),
        tmp_path / "out",
        tmp_path / "hook.py",
        tmp_path / "heard.jsonl",
    )
    hook.write_text(HOOK)
    first = Watcher(suite, folder, 3600, hook, told)
    try:
        wait_until(lambda: done(folder) >= 5)
        change(gateway, outage=True)
        first.wait_for("outage t since")
        wait_until(lambda: [record["event"] for record in heard(told)] == ["outage"])
        wait_until(
            lambda: status(folder).targets["t"].open_outage is not None
        )  # what the last second held is lost
        sealed = done(folder)
    finally:
        first.end(signal.SIGKILL)
    (dead,) = WatchedRuns(folder).runs()
    assert Run(dead).state == "interrupted"
    second = Watcher(suite, folder, 2, hook, told)
    try:
        wait_until(lambda: len(WatchedRuns(folder).runs()) >= 3)  # its days are two seconds long
        heal(gateway)
        second.wait_for("outage_end t since")
        wait_until(lambda: [record["event"] for record in heard(told)] == ["outage", "outage_end"])
    finally:
        assert second.end(signal.SIGTERM) == 0
    runs = WatchedRuns(folder).runs()
    states = [Run(run).state for run in runs]
    assert (states[0], {*states[1:-1]}) == ("interrupted", {"complete"})
    log = WatchedRuns(folder).logs()["t"]
    samples = log.columns.samples
    assert int((log.file == 0).sum()) >= sealed
    failed, known = samples["outcome"] == Outcome.http_5xx, samples["outcome"] != Outcome.censored
    assert set(samples["outcome"]) <= {Outcome.ok, Outcome.http_5xx, Outcome.censored}
    # the failures are one spell; by hand from its ends
    spell = np.flatnonzero(failed)
    assert not (samples["outcome"][spell[0] : spell[-1]] == Outcome.ok).any()
    at = samples["due_ns"] + log.facts.start_wall_ns
    begin, end = heard(told)
    for record in (begin, end):
        assert record["start_utc"] == stamp(int(at[spell[0]]))
        assert record["evidence"][0] == {
            "run": str(dead.relative_to(folder)),
            "line": int(log.line[spell[0]]),
            "at_utc": record["start_utc"],
        }
    assert (begin["failed_probes"], end["failed_probes"], end["end_utc"]) == (
        3,
        len(spell),
        stamp(int(at[spell[-1] + 1])),
    )
    promise = contract(metric="uptime", share="99.9%")
    (clause,) = census(log, promise).record.periods[0].clauses
    assert (clause.n, clause.k, clause.unknown) == (
        len(log.columns),
        len(spell),
        int((~known).sum()),
    )
    assert clause.attained is not None
    assert clause.attained.share == pytest.approx(1 - len(spell) / int(known.sum()))
    found = status(folder, promise).targets["t"]
    assert (found.probes, found.outages.count, found.open_outage) == (
        len(log.columns),
        1,
        None,
    )
    assert found.outages.last[0].failed_probes == len(spell)


@pytest.mark.parametrize(
    ("silent_min", "overall_then", "overall_now"),
    [
        (50, "PASS", "PASS"),
        (120, "PASS", "INCONCLUSIVE"),
        (120, "FAIL", "FAIL"),
    ],
)
def test_a_watch_that_died_vouches_for_nothing_since(
    silent_min: int, overall_then: str, overall_now: str
) -> None:
    """A PASS so far lasts an hour beyond the last probe; what is broken stays broken. Of a target
    without a probe in the present period nothing is known.
    """
    last = NOVEMBER + 29 * 86_400 * S
    log = log_of(last - 86_400 * S, "." * 2_880)
    day = ("2026-11-30", last)
    found = standing(log, contract(metric="uptime", share="99%"), last, day)
    assert found.period is not None
    then = found.replace(period=found.period.replace(overall=overall_then))
    known = _as_known(then, "2026-10-31", last + silent_min * MINUTE, ZoneInfo("UTC"))
    assert overall({"t": known}) == [overall_now]
    assert (known.note is None) == (overall_then == overall_now)
    gone = _as_known(None, "2026-12-31", last + 40 * 86_400 * S, ZoneInfo("UTC"))
    assert overall({"t": gone}) == ["INCONCLUSIVE"]
    assert "nothing is known" in str(gone.note)


def heal(gateway: str) -> None:
    """Begin the scenario again, without the changes."""
    host, _, path = gateway.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=STEP_S)
    connection.request("POST", f"/{path}/reset")
    assert connection.getresponse().status == 200
    connection.close()


def stamp(moment_ns: int) -> str:
    """RFC 3339 to the second."""
    return datetime.fromtimestamp(moment_ns // S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def done(folder: Path) -> int:
    """Rows on disk."""
    return sum(map(ended, WatchedRuns(folder).runs()))


def ended(run: Path) -> int:
    """Rows of a run on disk."""
    return int((Run(run).columns.samples["done_ns"] >= 0).sum())


def wait_until(holds: Callable[[], bool], patience_s: float = 40) -> None:
    """Look again until it holds; the test fails where it never does."""
    pause, end = threading.Event(), wall_ns() + int(patience_s * S)
    while not holds():
        assert wall_ns() < end, "it never came"
        pause.wait(0.05)


def test_a_signal_ends_the_command_cleanly(
    gateway: str, suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGTERM: exit 130, the run is sealed as interrupted with every probe that was sent, and the
    folder is free.
    """
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench",
            "watch",
            str(suite_to(gateway)),
            "--rate",
            "10/s",
            "--out",
            str(out),
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: done(out) >= 3)
    finally:
        process.terminate()
    assert process.wait(STEP_S) == 130
    (run,) = WatchedRuns(out).runs()
    assert (Run(run).state, (run / "samples" / "rows.npy").is_file(), watched_now(out)) == (
        "interrupted",
        True,
        False,
    )
    assert {
        Outcome(value) for value in WatchedRuns(out).logs()["t"].columns.samples["outcome"]
    } == {Outcome.ok}


def test_a_clock_that_jumps_ends_the_run_and_the_hour_is_unobserved(
    gateway: str, suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """The wall clock is set an hour ahead amid a run: two runs an hour apart, both dated rightly,
    the reason on file.
    """
    folder, ahead = tmp_path / "out", [0]
    watches: list[Watch] = []

    def wall() -> int:
        if not ahead[0] and WatchedRuns(folder).runs() and done(folder) >= 3:
            ahead[0] = 3600 * S
        elif (
            ahead[0]
            and len(WatchedRuns(folder).runs()) == 2
            and ended(WatchedRuns(folder).runs()[1]) >= 3
        ):  # the second run has begun to be on disk
            watches[0].stop()
        return wall_ns() + ahead[0]

    suite = probing(load_suite(str(suite_to(gateway))), Fraction(10), None)
    began = wall_ns()
    told = watched(
        suite,
        Terms(folder, wall=wall, roll=lambda now: now + 7200 * S),
        watches.append,
    )
    first, second = WatchedRuns(folder).runs()
    manifests = [Run(run).manifest for run in (first, second)]
    assert "parted by 1 h: suspended, or set" in str(manifests[0].ended_early)
    assert 3600 * S < manifests[1].started_wall_ns - began < 3600 * S + STEP_S * S
    assert any("suspended, or set" in text for text in told)
    events = [
        json.loads(line)["event"] for line in (folder / "watch.jsonl").read_text().splitlines()
    ]
    assert events == ["clock"]
    log = WatchedRuns(folder).logs()["t"]
    at = log.columns.samples["due_ns"] + log.facts.start_wall_ns
    assert (np.diff(at) > 3590 * S).sum() == 1
    assert not (log.columns.samples["outcome"] == Outcome.http_5xx).any()


class Busy:
    """A server that refuses every second chat request with 429 and `retry-after: 1`, and notes when
    each came.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.posts = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += peer.recv(65536)
                head, _, body = request.partition(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                while len(body) < length:
                    body += peer.recv(65536)
                self.posts += head.startswith(b"POST")
                peer.sendall(
                    b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nConnection:"
                    b" close\r\nContent-Length: 0\r\n\r\n"
                )

    def close(self) -> None:
        """Take no more."""
        self._listener.close()


def test_no_probe_is_sent_before_the_moment_the_server_named(
    suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """Ten probes a second at a server that asks to wait a second each time: those due meanwhile
    have a row that says so.
    """
    server = Busy()
    suite = probing(load_suite(str(suite_to(server.url))), Fraction(10), None)
    watched(suite, Terms(tmp_path / "out", lasts_ns=int(2.5 * S)))
    server.close()
    log = WatchedRuns(tmp_path / "out").logs()["t"]
    samples, notes = log.columns.samples, log.facts.texts["note"]
    unsent = samples["outcome"] == Outcome.never_sent
    assert {notes[n] for n in samples["note"][unsent]} == {WAITED}
    sent = samples["sent_ns"][~unsent]
    assert len(sent) == server.posts
    assert (np.diff(sent) >= 1 * S).all()
    assert int(unsent.sum()) + len(sent) == 25
    (clause,) = (
        census(log, contract(metric="uptime", share="99%", method="minute_all_fail"))
        .record.periods[0]
        .clauses
    )
    assert clause.unknown == int(unsent.sum())


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit(3)", "ended with 3"), ("import time; time.sleep(60)", "killed after 1 s")],
)
def test_a_hook_that_fails_is_logged_and_the_next_event_is_told(
    program: str, said: str, tmp_path: Path
) -> None:
    """Whatever becomes of it, both events stand in the log with the failure behind each."""
    recorder = Recorder(
        tmp_path, {"t": None}, (sys.executable, "-c", program), lambda _: None, hook_s=1
    )
    recorder.start(wall_ns())
    recorder.event(WatchEvent(event="outage", target="t"))
    recorder.event(WatchEvent(event="outage_end", target="t"))
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "outage",
        "hook_failed",
        "outage_end",
        "hook_failed",
    ]
    assert said in lines[1]["text"]


def test_a_hook_that_is_not_there_is_logged(tmp_path: Path) -> None:
    """A wrong path is a line, not the end."""
    recorder = Recorder(tmp_path, {"t": None}, ("/nowhere/page",), lambda _: None)
    recorder.start(wall_ns())
    recorder.event(WatchEvent(event="breach", target="t"))
    recorder.close()
    assert "cannot be run" in (tmp_path / "watch.jsonl").read_text()


def test_the_command_watches_and_tells_where_it_stands(
    gateway: str, suite_to: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seconds by flags; --status says the same in words and as JSON, and refuses a folder
    without a watch.
    """
    suite, out = str(suite_to(gateway)), str(tmp_path / "out")
    assert (
        main(
            [
                "watch",
                suite,
                "--rate",
                "5/1s",
                "--for",
                "2s",
                "--contract",
                "enterprise",
                "--out",
                out,
            ]
        )
        == 3
    )
    capsys.readouterr()
    assert main(["watch", "--status", out, "--format", "json"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert record["targets"]["t"]["probes"] == 10
    assert record["next_roll_utc"].endswith("T00:00:00Z")
    assert main(["watch", "--status", out]) == 3
    words = capsys.readouterr().out
    assert "10 probes" in words
    assert max(map(len, words.splitlines())) <= 100
    assert "nobody is probing" in " ".join(words.split())
    assert main(["watch", "--status", str(tmp_path)]) == 2
    assert "is not the folder of a watch" in capsys.readouterr().err
    for wrong in ("1/0s", "often", "0/s"):
        assert main(["watch", suite, "--rate", wrong, "--out", out]) == 2


def test_first_probes_that_are_all_refused_end_a_first_watch(
    suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """A wrong key is no outage."""
    with provider(lambda _: 401) as (url, answered):
        suite = probing(load_suite(str(suite_to(url.removesuffix("/v1")))), Fraction(10), None)
        with pytest.raises(TargetUnreachable, match="Incorrect API key provided"):
            watched(suite, Terms(tmp_path / "out", lasts_ns=60 * S))
    assert 10 <= len(answered) < 200


def test_first_probes_that_are_refused_for_want_of_credit_are_measured(
    suite_to: Callable[..., Path], tmp_path: Path
) -> None:
    """Key, model and body are right, so the watch goes on to its end."""
    with provider(lambda _: 402) as (url, answered):
        suite = probing(load_suite(str(suite_to(url.removesuffix("/v1")))), Fraction(10), None)
        watched(suite, Terms(tmp_path / "out", lasts_ns=2 * S))
    assert len(answered) == 20
