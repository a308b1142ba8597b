"""Which tier answers, and which key is taken, decided without a server."""

from __future__ import annotations

from typing import Any

import pytest

from bench.gateway.keys import KeyBook, KeyLifetime, key_of
from bench.gateway.scenarios import Gateway
from bench.gateway.tiers import Downgrade, Downgrades, TierName
from bench.gateway.virtual import Caller, Ended, Simulation
from bench.gateway.wire import RequestError
from bench.units import MS, S


def desk(*downgrades: dict[str, Any], seed: str = "1") -> Downgrades:
    return Downgrades([Downgrade.model_validate(each) for each in downgrades], seed)


def test_all_conditions_must_hold() -> None:
    """Tier asked for, model, size of the prompt, and the time, which comes again."""
    decide = desk(
        {
            "asked": "priority",
            "model": "Pro/*",
            "prompt_above": 100,
            "at": "10s",
            "for": "5s",
            "every": "20s",
        }
    ).downgrade
    assert decide("priority", "Pro/m", 101, 12 * S) is not None
    assert decide("priority", "Pro/m", 101, 32 * S) is not None
    others: list[tuple[TierName | None, str, int, int]] = [
        ("flex", "Pro/m", 101, 12 * S),
        (None, "Pro/m", 101, 12 * S),
        ("priority", "m", 101, 12 * S),
        ("priority", "Pro/m", 100, 12 * S),
        ("priority", "Pro/m", 101, 16 * S),
    ]
    for other in others:
        assert decide(*other) is None


def test_a_burst_is_more_than_so_many_within_a_second() -> None:
    """Counted by tier: the third within a second falls, one that comes later does not."""
    decide = desk({"asked": "priority", "rate_above": "2/s"}).downgrade
    moments = [0, 100, 200, 1_050, 2_300]
    fell = [decide("priority", "m", 1, at * MS) is not None for at in moments]
    assert fell == [False, False, True, True, False]
    assert decide("flex", "m", 1, 2_301 * MS) is None


def test_the_first_that_fits_counts_and_shares_are_drawn_by_the_seed() -> None:
    """A share of those that fit, the same for a seed; the rest go on to the next entry."""
    entries: list[dict[str, Any]] = [{"share": "30%", "served": "flex"}, {"prompt_above": 5}]

    def served(seed: str) -> list[str]:
        decide = desk(*entries, seed=seed).downgrade
        found = [decide("priority", "m", 6, at) for at in range(1000)]
        return [each.served for each in found if each is not None]

    assert len(served("1")) == 1000
    assert 250 < served("1").count("flex") < 350
    assert served("1") == served("1") != served("2")


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ({"authorization": "Bearer a"}, "", "Bearer a"),
        ({"x-api-key": "b"}, "", "b"),
        ({"x-goog-api-key": "c"}, "alt=sse", "c"),
        ({}, "alt=sse&key=d", "d"),
        ({}, "", ""),
        (
            {
                "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20261130/r/bedrock/aws4_request,"
                " SignedHeaders=host, Signature=00",
                "x-amz-security-token": "T",
            },
            "",
            "AKIDT",
        ),
    ],
)
def test_which_key_a_request_carries(headers: dict[str, str], query: str, key: str) -> None:
    """Wherever an API has it; of a signature, which differs each time, whose it is."""
    assert key_of(headers, query) == key


@pytest.mark.parametrize("renewable", [True, False])
def test_a_key_ages_from_its_first_request(renewable: bool) -> None:
    """After its time it is refused for good; another is taken, unless none shall be."""
    book = KeyBook(KeyLifetime.model_validate({"time": "1s", "renewable": renewable}))

    def taken(key: str, now_ns: int) -> bool:
        try:
            book.take(key, now_ns)
        except RequestError as error:
            return error.code != "token_expired"
        return True

    assert [taken("a", at) for at in (5 * S, 6 * S - 1, 6 * S, 9 * S)] == [True, True, False, False]
    assert taken("b", 9 * S) is renewable


def test_keys_expire_in_virtual_time_too() -> None:
    """The third request with a key is refused, one with another key is not."""
    gateway = Gateway.model_validate(
        {
            "key_lifetime": {"requests": 2},
            "model": [{"name": "*", "pool": "p"}],
            "pool": [{"name": "p", "ttft": {"fixed": "1ms"}}],
        }
    )
    ends: dict[int, str] = {}

    def ended(row: int, how: Ended) -> None:
        ends[row] = f"{how.outcome} {how.status}"

    simulation = Simulation(gateway, 1, ended, timeout_ns=S)
    for row, key in enumerate(["a", "a", "a", "b"]):
        simulation.request(row * S, row, "m", 1, 1, caller=Caller(key))
    simulation.finish()
    assert ends == {0: "ok 200", 1: "ok 200", 2: "http_4xx 401", 3: "ok 200"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"downgrade": [{"pool": "nowhere"}]},
        {"downgrade": [{"asked": "fastest"}]},
        {"downgrade": [{"every": "1s"}]},
        {"key_lifetime": {}},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """A pool that is not there, a tier that nobody has, a time that never ends and comes again."""
    pool = {"name": "p", "ttft": {"fixed": "1ms"}}
    with pytest.raises(ValueError, match=r"nowhere|asked|every|requests"):
        Gateway.model_validate({"model": [{"name": "*", "pool": "p"}], "pool": [pool], **wrong})


def test_the_key_of_older_scenarios_still_says_what_names_the_tier() -> None:
    """`told` is read as `named_by`."""
    older = Downgrade.model_validate({"told": "spillover"})
    assert older == Downgrade.model_validate({"named_by": "spillover"})
    assert older.named_by == "spillover"
