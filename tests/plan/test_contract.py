"""Contracts: clauses that can be decided, in words that are exact."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.plan.contract import Clause, Contract, parse_slo, quantile_name
from bench.userfile import parse_model

E2E: dict[str, Any] = {"metric": "e2e", "quantile": "99%", "limit": "800ms"}


def refusal(*clauses: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_model(Contract, {"title": "made", "clause": list(clauses), **keys}, "c.toml")
    return str(caught.value)


@pytest.mark.parametrize(("clause", "text", "allowed"), [
    (E2E, "response e2e p99 ≤ 800 ms", Fraction(1, 100)),
    ({**E2E, "view": "service", "quantile": 0.999}, "service e2e p99.9 ≤ 800 ms", Fraction(1, 1000)),
    ({**E2E, "metric": "ttft", "limit": "1.2345s"}, "response TTFT p99 ≤ 1.2345 s", Fraction(1, 100)),
    ({**E2E, "phase": "burst", "bucket": ">32K"}, "response e2e p99 ≤ 800 ms (phase burst, context >32K)", Fraction(1, 100)),
    ({"metric": "uptime", "share": "99.95%"}, "uptime, request ratio ≥ 99.95 %", Fraction(1, 2000)),
    ({"metric": "uptime", "share": "99.999999%"}, "uptime, request ratio ≥ 99.999999 %", Fraction(1, 10**8)),
    ({"metric": "error_share", "share": "1%"}, "error share ≤ 1 %", Fraction(1, 100)),
    ({"metric": "e2el", "quantile": "50%", "limit": "2min"}, "response e2e p50 ≤ 2 min", Fraction(1, 2)),
    ({"metric": "time_to_first_token", "quantile": "99%", "report_only": True}, "response TTFT p99", Fraction(1, 100)),
])  # fmt: skip
def test_a_clause_says_what_it_promises_without_rounding(clause: dict[str, Any], text: str, allowed: Fraction) -> None:
    """The text holds every digit of limit and share, and p0 is the exact share that may break the promise."""
    made = parse_model(Clause, clause, "c")
    assert made.text == text
    assert made.allowed_share == allowed


@pytest.mark.parametrize(("clause", "text"), [
    ({"metric": "e2e", "quantile": "99%"}, 'needs a limit such as "800ms"'),
    ({"metric": "e2e", "limit": "1s"}, 'metric "e2e" needs quantile and limit'),
    ({**E2E, "share": "99%"}, "needs quantile and limit"),
    ({**E2E, "quantile": 99}, 'per cent are written with their sign: "99%"'),
    ({**E2E, "quantile": "100%"}, "no finite run can prove 100 %"),
    ({**E2E, "limit": 800}, "clause[0].limit: 800 is not a duration"),
    ({**E2E, "limit": "0ms"}, "limit must be above zero"),
    ({"metric": "uptime", "share": "100%"}, "no finite run can prove a share of 0 % or 100 %"),
    ({"metric": "uptime", "quantile": "99%", "limit": "1s"}, 'metric "uptime" needs share'),
    ({"metric": "uptime", "share": "99%", "view": "service"}, "has no view"),
    ({"metric": "speed", "share": "99%"}, "clause[0].metric: 'speed' is not known here; write 'ttft'"),
    ({**E2E, "metrc": "e2e"}, "clause[0].metrc: unknown key; did you mean 'metric'?"),
    ({**E2E, "bucket": "huge"}, "write one of ≤1K, 1K–8K, 8K–32K, >32K"),
    ({**E2E, "excluding": ["timeouts"]}, "write 'http_4xx' or 'rate_limited'"),
])  # fmt: skip
def test_clauses_that_cannot_be_decided_are_refused(clause: dict[str, Any], text: str) -> None:
    """Half a clause, a promise of 100 %, a unit left out: refused by key path."""
    assert text in refusal(clause)
    assert refusal(clause).startswith("c.toml: clause[0]")


def test_buckets_can_be_typed_on_any_keyboard() -> None:
    """`<=1K` and `8K-32K` are the buckets that reports print as ≤1K and 8K–32K."""
    assert [parse_model(Clause, {**E2E, "bucket": typed}, "c").bucket for typed in ("<=1K", "8K-32K", "1K–8K")] == [
        "≤1K",
        "8K–32K",
        "1K–8K",
    ]


@pytest.mark.parametrize("confidence", ["50%", "100%", "10%"])
def test_confidence_is_above_a_coin_toss_and_below_certainty(confidence: str) -> None:
    """A confidence of 50 % or 100 % decides nothing."""
    assert "between 50 % and 100 %" in refusal(E2E, confidence=confidence)


def test_the_tightest_limit_is_over_all_clauses() -> None:
    """The harness is held against the smallest latency limit; shares have none."""
    clauses = [E2E, {**E2E, "metric": "ttft", "limit": "300ms"}, {"metric": "uptime", "share": "99%"}]
    assert parse_model(Contract, {"title": "made", "clause": clauses}, "c").tightest_limit_ns == 300_000_000
    assert parse_model(Contract, {"title": "made", "clause": clauses[2:]}, "c").tightest_limit_ns is None


def test_a_contract_survives_being_written_and_read() -> None:
    """What the manifest keeps parses back to the same contract."""
    made = parse_model(
        Contract,
        {"title": "made", "clause": [E2E, {"metric": "uptime", "share": "99.95%"}], "breach_cost_usd": "1000000"},
        "c",
    )
    assert Contract.model_validate(made.model_dump(mode="json", by_alias=True)) == made


@pytest.mark.parametrize(("text", "clause"), [
    ("ttft:p99<800ms", "response TTFT p99 ≤ 800 ms"), ("ttft:p99<=800", "response TTFT p99 ≤ 800 ms"),
    ("TTFT : P99 < 1.5s", "response TTFT p99 ≤ 1.5 s"), ("e2e:p(99.9)<2s", "response e2e p99.9 ≤ 2 s"),
    ("time_to_first_token:p99:lt:800", "response TTFT p99 ≤ 800 ms"), ("request_latency:p50:le:2000", "response e2e p50 ≤ 2 s"),
    ("tpot:p90<50ms", "response TPOT p90 ≤ 50 ms"), ("uptime>=99.9%", "uptime, request ratio ≥ 99.9 %"),
    ("availability > 99.95 %", "uptime, request ratio ≥ 99.95 %"), ("error_rate<1%", "error share ≤ 1 %"),
])  # fmt: skip
def test_one_line_slos_are_read_as_other_tools_write_them(text: str, clause: str) -> None:
    """Names, separators and bare milliseconds of vLLM, AIPerf and k6 mean what they mean there."""
    assert parse_slo(text).text == clause


@pytest.mark.parametrize(("text", "part"), [
    ("ttft", "write metric:pNN<limit"), ("speed:p99<1s", "metrics: ttft"), ("ttft:p99>800ms", "write metric:pNN<limit"),
    ("ttft:p100<1s", "no finite run can prove 100 %"), ("ttft:p101<1s", "outside 0 % to 100 %"), ("ttft:p99<1x", "is not a duration"),
    ("uptime>=99.9", "uptime>=99.9%"), ("uptime<=99.9%", "uptime>=99.9%"), ("uptime>=100%", "no finite run can prove"),
    ("ttft:p99<0ms", "limit must be above zero"), ("", "write metric:pNN<limit"), ("ttft:p99<1.2.3", "is not a duration"),
])  # fmt: skip
def test_one_line_slos_that_mean_nothing_are_refused(text: str, part: str) -> None:
    """The sentence quotes what was typed and shows a form that works."""
    with pytest.raises(UserError) as caught:
        parse_slo(text)
    assert str(caught.value).startswith(f"--slo {text!r}: ")
    assert part in str(caught.value)


@given(st.integers(1, 99_999))
def test_quantile_names_keep_their_digits(thousandths: int) -> None:
    """p99.999 is not p100: the name reads back as the quantile."""
    quantile = Fraction(thousandths, 100_000)
    assert Fraction(quantile_name(quantile).removeprefix("p")) / 100 == quantile
