"""Flags: each means what its key in a file means, and is refused by its own name."""

from __future__ import annotations

import importlib
import json
from fractions import Fraction
from pathlib import Path

import pytest

from bench.cli.adhoc import adhoc_suite, override_suite
from bench.cli.flags import parsed_rate
from bench.cli.help import ours
from bench.cli.resume import repeat_command
from bench.errors import UserError
from bench.plan.arrival_laws import Arrivals
from bench.plan.profile import Profile
from bench.plan.schedule import compile_plan
from bench.plan.suite import Suite, load_suite
from bench.plan.target import Target
from tests.support.flags import run_flags as flags

S = 1_000_000_000
LEAST = ["--url", "http://127.0.0.1:9/v1", "--model", "m"]


def suite(*words: str) -> Suite:
    return adhoc_suite(flags(*LEAST, *words))


def profile(*words: str) -> Profile:
    return suite(*words).stages[0].profile


def target(*words: str) -> Target:
    return suite(*words).stages[0].targets[0]


def test_the_defaults_are_the_documented_ones() -> None:
    """Ten Poisson requests a second for 30 s, 500 tokens in, 64 out, a minute's patience, no
    contract.
    """
    made = profile()
    assert made.arrivals == Arrivals(kind="poisson", rate=Fraction(10))
    assert (made.duration, made.requests) == (30 * S, None)
    assert (made.prompt_tokens[0].fixed, made.output_tokens[0].fixed, made.max_in_flight) == (
        500,
        64,
        None,
    )
    assert (target().timeout, target().stream, target().extra_body) == (60 * S, True, {})
    assert suite().stages[0].contract is None


@pytest.mark.parametrize(
    ("words", "kind", "rate", "burstiness"),
    [
        (["--request-rate", "5"], "poisson", Fraction(5), None),
        (["--request-rate", "120/min"], "poisson", Fraction(2), None),
        (["--request-rate", "2.5", "--arrival", "constant"], "constant", Fraction(5, 2), None),
        (["--request-rate", "10 per min"], "poisson", Fraction(1, 6), None),
        (["--burstiness", "0.25"], "gamma", Fraction(10), 0.25),
        (["--arrival", "gamma"], "gamma", Fraction(10), 1.0),
        (["--arrival-pattern", "gamma", "--arrival-smoothness", "4"], "gamma", Fraction(10), 4.0),
    ],
)
def test_arrivals_are_set_by_flags(
    words: list[str], kind: str, rate: Fraction, burstiness: float | None
) -> None:
    """A bare rate is per second; burstiness is the gamma shape and implies gamma."""
    made = profile(*words).arrivals
    assert (made.kind, made.rate, made.burstiness) == (kind, rate, burstiness)


def test_concurrency_is_a_loop_alone_and_a_cap_beside_a_rate() -> None:
    """`--concurrency 8` alone is 8 users; with a rate, a law or a profile it caps what is in
    flight.
    """
    alone = profile("--concurrency", "8")
    assert (alone.arrivals.kind, alone.arrivals.concurrency, alone.max_in_flight) == (
        "closed",
        8,
        None,
    )
    for words in (
        ["--request-rate", "5"],
        ["--arrival", "constant"],
        ["--burstiness", "0.5"],
        ["--profile", "chat"],
    ):
        capped = profile("--concurrency", "8", *words)
        assert (capped.closed_loop, capped.max_in_flight) == (False, 8)


@pytest.mark.parametrize(
    ("words", "duration", "requests"),
    [
        ([], 30 * S, None),
        (["--request-count", "40"], None, 40),
        (["--duration", "5s", "--request-count", "40"], 5 * S, 40),
        (["--num-prompts", "40"], None, 40),
    ],
)
def test_a_run_ends_by_time_or_count(
    words: list[str], duration: int | None, requests: int | None
) -> None:
    """A count alone drops the default duration; both together hold together."""
    assert (profile(*words).duration, profile(*words).requests) == (duration, requests)


def test_the_target_takes_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header, body, timeout, streaming and URL arrive in the target; `${ENV}` in the URL is filled
    in for the wire alone.
    """
    monkeypatch.setenv("TP_HOST", "h")
    words = [
        "-H",
        "X-Team: a: b",
        "--extra-body",
        '{"temperature": 0}',
        "--timeout",
        "5s",
        "--no-streaming",
        "--insecure",
        "--api-key-env",
        "TP_KEY",
        "--max-tokens-field",
        "max_completion_tokens",
    ]
    made = target(*words)
    assert made.headers == {"X-Team": "a: b"}
    assert (made.extra_body, made.timeout, made.stream, made.insecure) == (
        {"temperature": 0},
        5 * S,
        False,
        True,
    )
    assert (made.api_key_env, made.max_tokens_field) == ("TP_KEY", "max_completion_tokens")
    named = (
        adhoc_suite(flags("--base-url", "https://${TP_HOST}/v1", "--model", "m"))
        .stages[0]
        .targets[0]
    )
    assert (named.base_url, named.address) == ("https://${TP_HOST}/v1", "https://h/v1")


def test_a_source_of_the_key_replaces_the_targets_own(tmp_path: Path) -> None:
    """A flag names where the key is; a suite's target that names another place loses that one."""
    (tmp_path / "mine.toml").write_text(
        'description = "d"\nbase_url = "http://h/v1"\nmodel = "m"\napi_key_env = "TP_KEY"\n'
    )
    (tmp_path / "one.toml").write_text(
        'description = "d"\n[[stage]]\nname = "s"\ntargets = ["mine.toml"]\nprofile = "chat"\n'
    )
    loaded = override_suite(
        load_suite(str(tmp_path / "one.toml")), flags("--api-key-command", "pass show 'my key'")
    )
    made = loaded.stages[0].targets[0]
    assert (made.api_key_env, made.api_key_command) == (None, ("pass", "show", "my key"))


def test_an_api_its_query_its_key_and_its_tier_are_set_by_flags(tmp_path: Path) -> None:
    """Over a suite's target too, whose own key `--auth none` leaves out."""
    words = ["--query", "api-version=2024-10-21", "--query", "a=b=c", "--auth", "api-key"]
    made = target(*words, "--api", "embeddings", "--tier", "reserved", "--api-key-env", "K")
    assert (made.api, made.stream, made.tier, made.auth) == (
        "embeddings",
        False,
        "reserved",
        "api-key",
    )
    assert made.query == {"api-version": "2024-10-21", "a": "b=c"}
    (tmp_path / "mine.toml").write_text(
        'description = "d"\nbase_url = "http://h/v1"\nmodel = "m"\napi_key_env = "TP_KEY"\n'
    )
    (tmp_path / "one.toml").write_text(
        'description = "d"\n[[stage]]\nname = "s"\ntargets = ["mine.toml"]\nprofile = "chat"\n'
    )
    over = ["--auth", "none", "-H", "Authorization: x", "--tier", "flex"]
    made = override_suite(load_suite(str(tmp_path / "one.toml")), flags(*over)).stages[0].targets[0]
    assert (made.api_key_env, made.auth, made.tier) == (None, "none", "flex")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--query", "planted"], "--query: is not NAME=VALUE; write"),
        (["--query", "api_key=planted"], "--query: the query holds 'api_key'"),
        (["--url", "http://h/v1?token=planted"], "--url: the query holds 'token'"),
        (["--url", "http://h/v1/rerank"], 'ends in the path of api = "rerank"'),
        (["--auth", "bearer", "-H", "Authorization: planted"], "headers.Authorization and auth"),
        (["--api-key-env", "K", "-H", "api-key: planted"], "headers.api-key and api_key_env"),
        (["--auth", "none", "--api-key-file", "f"], 'auth = "none" sends no key'),
        (["--api", "rerank", "--streaming"], "rerank answers at once, without tokens"),
    ],
)
def test_keys_in_queries_and_two_proofs_are_refused_without_showing_them(
    words: list[str], text: str
) -> None:
    """The flag, the remedy, and no secret."""
    with pytest.raises(UserError) as caught:
        suite(*words)
    assert text in str(caught.value)
    assert "planted" not in str(caught.value)


def test_slos_stand_alone_or_after_a_contract() -> None:
    """`--slo` alone makes a contract at --confidence; after --contract its clauses are added."""
    alone = (
        suite("--slo", "ttft:p99<800ms", "--slo", "uptime>=99%", "--confidence", "99%")
        .stages[0]
        .contract
    )
    assert alone is not None
    assert [clause.text for clause in alone.clauses] == [
        "response TTFT p99 ≤ 800 ms",
        "uptime, request ratio ≥ 99 %",
    ]
    assert alone.confidence == Fraction(99, 100)
    after = suite("--contract", "startup", "--slo", "ttft:p99<800ms").stages[0].contract
    own = suite("--contract", "startup").stages[0].contract
    assert after is not None
    assert own is not None
    assert after.clauses[:-1] == own.clauses
    assert after.clauses[-1].text == "response TTFT p99 ≤ 800 ms"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--request-rate", "abc"],
            '--rate: \'abc\' is not a rate above zero; write "10/s" or "120/min"',
        ),
        (["--request-rate", "-5"], "--rate: '-5' is not a rate above zero"),
        (
            ["--burstiness", "0.5", "--arrival", "poisson"],
            "--burstiness: does not go with --arrival poisson; use --arrival gamma",
        ),
        (["--profile", "chat", "--arrival", "constant"], "--arrival: cannot be set over a profile"),
        (["--duration", "30"], "--duration: '30' is not a duration"),
        (["--profile", "chat", "--duration", "0s"], "--duration: must be above zero"),
        (["--warmup-duration", "5"], "--warmup-duration: '5' is not a duration"),
        (
            ["--concurrency", "4", "--warmup-duration", "5s"],
            'arrivals of kind "closed" cannot have warmup',
        ),
        (["--profile", "trace", "--isl", "5"], "a trace brings its own sizes"),
        (["--timeout", "5"], "--timeout: '5' is not a duration"),
        (["--header", "nocolon"], "--header: is not a header; write 'name: value'"),
        (["--extra-body", "{a"], "--extra-body: is not JSON"),
        (
            ["--extra-body", "[1]"],
            "--extra-body: is not a JSON object; write '{\"temperature\": 0}'",
        ),
        (["--slo", "ttft<1s"], "--slo 'ttft<1s': is not an SLO that can be judged"),
        (["--confidence", "abc"], "--confidence: 'abc' is not a share"),
        (
            ["--confidence", "40%", "--slo", "e2e:p99<1s"],
            "--confidence: confidence must lie between 50 % and 100 %",
        ),
        (["--profile", "chatt"], "no load profile named 'chatt'; did you mean chat?"),
        (["--contract", "enterprize"], "no contract named 'enterprize'; did you mean enterprise?"),
        (["--isl", "20000000"], "--isl: 20000000 does not fit"),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(words: list[str], text: str) -> None:
    """The sentence names the flag (not a key the user never wrote) and what to write."""
    with pytest.raises(UserError) as caught:
        suite(*words)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("embedded", "--url: "),
        ("localhost:8000", "is not a base URL"),
        ("http://${TP_NOT_SET}/v1", "--url: environment variable TP_NOT_SET is not set"),
    ],
)
def test_a_wrong_url_is_refused(url: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded gateway has no URL to give, a URL has a scheme, and a variable must be set."""
    monkeypatch.delenv("TP_NOT_SET", raising=False)
    with pytest.raises(UserError) as caught:
        adhoc_suite(flags("--url", url, "--model", "m"))
    assert text in str(caught.value)


def test_flags_over_a_profile_change_only_what_they_say() -> None:
    """--isl and --warmup-duration over `chat` keep its exact rate, curve and output sizes."""
    plain, changed = (
        profile("--profile", "chat"),
        profile("--profile", "chat", "--isl", "9", "--warmup-duration", "2s"),
    )
    assert changed.arrivals == plain.arrivals
    assert changed.rate_curve == plain.rate_curve
    assert changed.output_tokens == plain.output_tokens
    assert (changed.prompt_tokens[0].fixed, changed.warmup) == (9, 2 * S)
    slow = profile("--profile", "steady", "--request-rate", "10/min", "--isl", "9")
    assert slow.arrivals.rate == Fraction(1, 6)


def test_flags_over_a_suite_reach_every_stage() -> None:
    """Rate, URL and contract replace the suite's; expectations of another contract are dropped; the
    files are kept.
    """
    own = load_suite("field-guide")
    changed = override_suite(
        own,
        flags(
            "field-guide",
            "--request-rate",
            "3",
            "--url",
            "http://h/v1",
            "--contract",
            "pro-channel",
        ),
    )
    assert {stage.profile.arrivals.rate for stage in changed.stages} == {3}
    assert {
        sent.base_url
        for stage in changed.stages
        for target in stage.targets
        for sent in target.endpoints
    } == {"http://h/v1"}
    assert any(target.route for stage in changed.stages for target in stage.targets)
    assert [[target.model for target in stage.targets] for stage in changed.stages] == [
        [target.model for target in stage.targets] for stage in own.stages
    ]
    assert {stage.contract.name for stage in changed.stages if stage.contract} == {"pro-channel"}
    assert not any(stage.expect or stage.simulated for stage in changed.stages)
    assert not any(stage.expect_route for stage in changed.stages)
    assert not any(table.expect for stage in changed.stages for table in stage.compare)
    assert any(stage.compare and stage.simulated for stage in own.stages)
    assert {path.name for path in changed.files} - {path.name for path in own.files} == {
        "pro-channel.toml"
    }
    assert override_suite(own, flags("field-guide")) == own


def test_the_same_flags_plan_the_same_bytes() -> None:
    """Two plans of one command line are equal, whatever spelling of a flag was used."""
    first = compile_plan(
        suite("--request-rate", "20", "--duration", "5s", "--isl", "50"), 3
    ).schedule
    second = compile_plan(
        suite("--request-rate=1200/min", "--benchmark-duration", "5s", "--random-input-len=50"), 3
    ).schedule
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["field-guide"], "field-guide --seed 7"),
        (
            ["--url", "http://h/v1", "--seed", "3", "--out", "x", "--repeat=4"],
            "--url http://h/v1 --seed 7",
        ),
        (["--random-seed", "3", "--result-dir=x", "s.toml"], "s.toml --seed 7"),
        (
            ["-H", "Authorization: Bearer sk-123", "--model", "m"],
            "--header 'Authorization: [redacted]' --model m --seed 7",
        ),
        (["--header=X-Api-Key: abc"], "--header 'X-Api-Key: [redacted]' --seed 7"),
        (["-HX-Api-Key: abc"], "--header 'X-Api-Key: [redacted]' --seed 7"),
        (
            ["-H", "Authorization: Bearer ${KEY}"],
            "--header 'Authorization: Bearer ${KEY}' --seed 7",
        ),
        (["-H", "X-A: sk-1${KEY}"], "--header 'X-A: [redacted]' --seed 7"),
        (["--slo", "ttft:p99<1s"], "--slo 'ttft:p99<1s' --seed 7"),
    ],
)
def test_the_repeat_command_repeats_and_keeps_no_secret(words: list[str], kept: str) -> None:
    """It ends with the seed that was used, leaves out folder and repetition, and holds no header's
    literal value.
    """
    assert repeat_command(["/x/tailproof", "run", *words], 7) == f"tailproof run {kept}"


def test_no_flag_value_of_a_header_reaches_the_manifest() -> None:
    """A literal key typed after --header is in no lane's record."""
    lane = compile_plan(suite("-H", "Authorization: Bearer sk-123")).lanes[0]
    assert "sk-123" not in json.dumps(lane.record())


@pytest.mark.parametrize("command", ["run", "ramp", "watch", "plan"])
def test_the_rate_has_one_name_and_an_alias_everywhere(command: str) -> None:
    """`--rate` as the files have it, `--request-rate` as other tools do."""
    module = importlib.import_module(f"bench.cli.{command}")
    known = getattr(module, command).flags()
    assert "--rate" in known
    assert ours(["--request-rate", "--request-rate=5"], known) == ["--rate", "--rate=5"]


@pytest.mark.parametrize(
    ("text", "per_s"), [("10", 10), ("2.5", 2.5), ("120/min", 2), ("1/4s", 0.25)]
)
def test_a_bare_number_is_a_rate_per_second(text: str, per_s: float) -> None:
    assert parsed_rate("--rate", text) == per_s
