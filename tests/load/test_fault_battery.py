"""Every fault of docs/dev/faults.md, on both transports, streamed and plain: its class, and a run
that goes on.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.record.samples import Outcome
from tests.support.battery import Played, play
from tests.support.hostile import FAULTS, FLOODS, Fault, absent, resets, says, status
from tests.support.scripted_server import PATIENCE_S

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = CHECKOUT / "docs" / "dev" / "faults.md"
BOTH = pytest.mark.parametrize("transport", ["tailproof", "httpx"])
EITHER = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "plain"])


class Documented(NamedTuple):
    """A row of a table: classes by (transport, streamed), None where the fault cannot be; what the
    next request comes to.
    """

    classes: dict[tuple[str, bool], Outcome | None]
    next: dict[str, str]

    @classmethod
    def read(cls, streamed: str, plain: str, stock: str, why: str) -> Documented:
        """From the cells behind the name."""
        also = stock.split(" / ") if stock else [streamed, plain]
        cells = {
            ("tailproof", True): streamed,
            ("tailproof", False): plain,
            ("httpx", True): also[0],
            ("httpx", False): also[-1],
        }
        known = {
            key: None if plain == "–" and not key[1] else Outcome[cell.strip("`")]
            for key, cell in cells.items()
        }
        following = re.search(r"next( through httpx)?: `(\w+)`", why)
        otherwise = {"tailproof": "ok", "httpx": "ok"}
        if following:
            otherwise |= dict.fromkeys(["httpx"] if following[1] else otherwise, following[2])
        return cls(known, otherwise)


@functools.cache
def documented() -> dict[str, Documented]:
    """The tables of docs/dev/faults.md."""
    rows = [
        re.split(r" ?\| ?", row)
        for row in re.findall(
            r"^\| (?!fault )(.+?) ?\|$", DOCUMENT.read_text("utf-8"), re.MULTILINE
        )
    ]
    return {name: Documented.read(*cells) for name, *cells in rows}


def classes(transport: str, streamed: bool) -> dict[str, Outcome]:
    """The documented class of each fault that can be."""
    every = {name: row.classes[transport, streamed] for name, row in documented().items()}
    return {name: outcome for name, outcome in every.items() if outcome is not None}


@functools.cache
def battery(transport: str, streamed: bool) -> Played:
    """All faults but the floods, once."""
    expected = classes(transport, streamed)
    faults = {
        name: fault for name, fault in FAULTS.items() if name in expected and name not in absent()
    }
    return play(faults, transport, streamed, expected)


@BOTH
@EITHER
def test_each_fault_has_the_class_that_the_document_gives_it(
    transport: str, streamed: bool
) -> None:
    """The table of docs/dev/faults.md is what happens, by transport, streamed and plain."""
    found = battery(transport, streamed).outcomes(0)
    assert found == {name: classes(transport, streamed)[name].name for name in found}


@BOTH
@EITHER
def test_after_each_fault_the_run_goes_on(transport: str, streamed: bool) -> None:
    """The next request of the same lane succeeds, or comes to what the table says."""
    following = battery(transport, streamed).outcomes(1)
    assert following == {name: documented()[name].next[transport] for name in following}


@BOTH
@EITHER
def test_no_fault_costs_a_row_or_sends_one_twice(transport: str, streamed: bool) -> None:
    """Each row is on disk with its end and, where it failed, the reason; no id reached a server
    twice, redirected or not.
    """
    played = battery(transport, streamed)
    for name, rows in played.rows.items():
        assert (rows["done_ns"] > 0).all(), name
        assert all(note >= 0 for note in rows["note"][rows["outcome"] != Outcome.ok]), name
        assert len(played.seen[name]) == len(set(played.seen[name])) <= 2, name


@BOTH
@EITHER
def test_retry_after_is_kept_in_either_form(transport: str, streamed: bool) -> None:
    """Seconds as they are, a date as what is left until then (whole seconds, less what the answer
    took), nonsense as unsaid.
    """
    rows = battery(transport, streamed).rows
    told = {
        name.partition("retry-after ")[2]: int(row["retry_after_ms"][0])
        for name, row in rows.items()
        if "retry-after" in name
    }
    left = told.pop("a date")
    assert told == {"7": 7000, "nonsense": -1}
    assert 98_000 - 1000 * PATIENCE_S < left <= 100_000


@BOTH
@EITHER
@pytest.mark.parametrize("fault", FLOODS)
def test_what_never_ends_is_ended_within_bounded_memory(
    fault: str, transport: str, streamed: bool
) -> None:
    """Its class, a run that goes on, and never more than 64 MiB, where twice as much was sent or
    there was no end to it.
    """
    expected = classes(transport, streamed)
    tracemalloc.start()
    try:
        played = play({fault: FLOODS[fault]}, transport, streamed, expected)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (played.outcomes(0)[fault], played.outcomes(1)[fault]) == (expected[fault].name, "ok")
    assert peak < 64 << 20


@BOTH
def test_a_second_attempt_is_judged_by_its_own_end(transport: str) -> None:
    """An option is refused, the request goes again without it and meets a reset: the row is a
    reset, not the refusal.
    """
    refusal = status(
        "400 Bad Request",
        body=b'{"error":{"message":"unknown: stream_options"}}',
        ending=says([], resets),
    )
    played = play({"f": Fault(refusal)}, transport, True, {})
    assert played.outcomes(0) == {"f": "reset"}
    assert played.rows["f"]["attempts"].tolist() == [2, 1]


#: takes every descriptor before the first request and gives them back after it
EXHAUST = """
import os, resource, sys
from tests.support import heard, scripted_server
from bench.load.transport.sender import make_sender
from bench.load.transport.stamps import StampedReader

async def main(url):
    sender = make_sender(heard.target_for(url, sys.argv[1]), StampedReader())
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        first = await heard.ask(sender)
    for each in taken:
        os.close(each)
    second = await heard.ask(sender)
    await sender.close()
    print(first.outcome.name, first.note, second.outcome.name, sep="|")

with scripted_server.serving(scripted_server.answer()) as server:
    heard.on_loop("asyncio", lambda: main(f"http://127.0.0.1:{server.port}/v1"))
"""


@BOTH
def test_without_descriptors_a_request_is_ours_to_answer_for(transport: str) -> None:
    """With none left the row was never sent and says why; with some given back the next one
    succeeds.
    """
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXHAUST, transport],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    expected = classes(transport, True)["out of descriptors"]
    assert told.stdout.strip().split("|") == [expected.name, "out of descriptors (EMFILE)", "ok"], (
        told.stderr
    )


def test_the_document_names_every_fault_of_the_battery_and_no_other() -> None:
    """A fault without a row, or a row without a fault, is a table that nobody holds."""
    assert set(documented()) == {*FAULTS, *FLOODS, "out of descriptors"}
