"""What an endpoint speaks, and whether a run against it would be answered.

In: a target as far as it is known, and what of it may still be changed. Out: a `Diagnosis`, and
the target as a run would have it. Must stay true: the requests that are sent are few, small and
counted; what a server refuses is a finding and never an exception; a key is sent to the host of the
URL alone.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from fractions import Fraction
from urllib.parse import urlsplit

import anyio
from pydantic import ValidationError

from bench.api.auth import STYLES
from bench.api.guess import is_about_model, shape_of
from bench.api.rate_limits import limits_in
from bench.api.registry import DEFAULT
from bench.app.findings import findings_of
from bench.app.seen import Seen, answer_of, clock_of, network_of, usd_spent
from bench.load.endpoint import body_format
from bench.load.network_path import look_at
from bench.load.transport.interface import TransportFailure
from bench.load.transport.sender import refuse_proxy
from bench.load.transport.wire import origin_of
from bench.load.trial import Trial, list_models, try_once
from bench.plan.credentials import Redaction, secrets_of
from bench.plan.quota import rate_within
from bench.plan.target import EMBEDDED, KEY_SOURCES, Target
from bench.plan.target_text import target_flags, target_toml
from bench.record.records.diagnosis import Attempt, Diagnosis, Finding
from bench.record.samples import Flag, Outcome

#: What is asked, and for how long an answer at most.
PROMPT, OUTPUT_TOKENS = b"Count from 1 to 20.", 32
#: Tokens of a prompt and an answer in a run that says nothing of them, and its rate.
USUAL_SIZES, _FIRST_RATE = (500, 64), Fraction(5)
#: More requests than this are never sent.
MOST_REQUESTS = 12
#: Ways to send a key, in the order of trying.
_STYLES = ("bearer", "api-key", "x-api-key", "x-goog-api-key")
#: Where Azure divides its minute, it does so by this.
_AZURE, _AZURE_COUNTS_OVER = ".azure.com", "10s"
#: Where most servers have an API in OpenAI's shape.
_USUAL = ("/v1", "/api/v1", "/openai/v1")
#: A status by which a server says that it does not know path, method or body.
_NOT_THIS_API = (400, 404, 405, 415, 422, 501)


@dataclasses.dataclass(frozen=True)
class Open:
    """What nobody said, so that it is found."""

    #: APIs in the order of trying; the first is the target's own
    apis: tuple[str, ...]
    auth: bool
    model: bool


def diagnose(target: Target, still_open: Open) -> tuple[Diagnosis, Target]:
    """Look at an endpoint. Raises UserError where the key or a TLS file cannot be had."""
    assert target.base_url != EMBEDDED
    secrets_of(target)  # read for its check: a key that cannot be had is told before anything else
    seen = Seen(target)
    try:
        # With a proxy between, the way to the server is the proxy's.
        if target.transport == "tailproof":
            refuse_proxy(target)
            seen.path = look_at(origin_of(target)) if target.unix_socket is None else None
    except TransportFailure as failure:
        seen.failure = failure
        return _diagnosis(seen), target
    anyio.run(_ask, seen, still_open, backend="asyncio")
    return _diagnosis(seen), seen.target


async def _ask(seen: Seen, still_open: Open) -> None:
    seen.listing = await list_models(seen.target)
    if not seen.listing.status:
        seen.target = seen.target.model_copy(update={"ready_check": False})
    if still_open.model:
        if len(seen.listing.models) != 1:
            seen.nameless = True
            return
        seen.target = _with(seen.target, model=seen.listing.models[0]) or seen.target
    for target in _candidates(seen, still_open.apis):
        trial = await _tried(seen, target)
        if trial.status == 401 and still_open.auth and _has_key(target):
            trial = await _other_styles(seen, target, trial)
        if _decides(seen.target, trial):
            break
    else:
        seen.speaks_none = True
        seen.better_url = await _better_url(seen.target)
    seen.limits = limits_in(seen.last.headers) if seen.last is not None else {}


def _candidates(seen: Seen, apis: tuple[str, ...]) -> Iterator[Target]:
    """The target in each API; one that a refusal looks like comes next."""
    base, left = seen.target, list(apis)
    while left and len(seen.trials) < MOST_REQUESTS:
        shape = seen.last and shape_of(seen.last.headers, bytes(seen.last.body))
        name = shape if shape in left else left[0]
        left.remove(name)
        target = _with(base, api=name)
        # Credentials of the machine are looked for only where the address asks to be signed for.
        if target is not None and (name == apis[0] or not STYLES[target.auth_style].aws):
            yield target


async def _better_url(target: Target) -> str:
    """A base URL of the same server below which it lists models; empty where none is found."""
    parts = urlsplit(target.base_url)
    home = f"{parts.scheme}://{parts.netloc}"
    for base in (f"{home}{parts.path.rstrip('/')}/v1", *(f"{home}{path}" for path in _USUAL)):
        other = _with(target, base_url=base, api=DEFAULT)
        if base != target.base_url and other is not None and (await list_models(other)).models:
            return base
    return ""


def _with(target: Target, **changes: object) -> Target | None:
    """The target with other keys; None where it cannot be had so."""
    if "api" in changes and changes["api"] == target.api:
        return target
    given = target.model_dump(exclude_defaults=True, by_alias=True)
    if "api" in changes:
        given.pop("stream", None)
    try:
        return Target.model_validate({**given, **changes})
    except ValidationError:
        return None


async def _tried(seen: Seen, target: Target) -> Trial:
    """One request, and once more without each option that the server refuses."""
    writer = body_format(target)
    trial = await _sent(seen, target, writer.write([PROMPT], OUTPUT_TOKENS))
    for _ in range(2):
        refused = trial.note.lower()
        if trial.status not in (400, 422) or not writer.drop_refused(refused):
            break
        if "max_completion_tokens" in refused:
            target = target.model_copy(update={"max_tokens_field": "max_completion_tokens"})
        else:
            target = target.model_copy(update={"include_usage": False})
        trial = await _sent(seen, target, writer.write([PROMPT], OUTPUT_TOKENS))
    if trial.status in (400, 422) and target.stream and "stream" in trial.note.lower():
        return await _tried(seen, target.model_copy(update={"stream": False}))
    if trial.outcome is Outcome.ok and target.stream and not trial.flags & Flag.STREAMED:
        seen.target = target.model_copy(update={"stream": False})
    return trial


async def _sent(seen: Seen, target: Target, body: bytes) -> Trial:
    seen.target = target
    trial = await try_once(target, body)
    seen.trials.append(trial)
    return trial


async def _other_styles(seen: Seen, target: Target, refused: Trial) -> Trial:
    """The key is refused: perhaps for the header that carries it."""
    for style in _STYLES:
        other = _with(target, auth=style) if style != target.auth_style else None
        if other is not None and len(seen.trials) < MOST_REQUESTS:
            trial = await _tried(seen, other)
            if trial.status not in (401, 403):
                return trial
    seen.target = target
    seen.trials.append(refused)
    return refused


def _has_key(target: Target) -> bool:
    return any(getattr(target, source) for source in KEY_SOURCES)


def _decides(target: Target, trial: Trial) -> bool:
    """Whether no other API would fare better."""
    if trial.outcome is Outcome.ok:
        return True
    if trial.status in _NOT_THIS_API:
        return is_about_model(trial.status, bytes(trial.body), target.model)
    # A page in place of an answer: the path is not an API's.
    return not (trial.status == 200 and trial.outcome in (Outcome.malformed, Outcome.truncated))


# ---- what it came to


def _diagnosis(seen: Seen) -> Diagnosis:
    """All findings, the first that is bad as the sentence above them."""
    findings = findings_of(seen)
    ready = seen.answered is not None and not any(each.state == "bad" for each in findings)
    worst = next((each for each in findings if each.state == "bad"), None)
    answered = seen.answered
    clean = Redaction(secrets_of(seen.target)).clean
    host = urlsplit(seen.target.base_url).netloc
    target = seen.target.model_copy(update={"description": f"{seen.target.model} at {host}"})
    return Diagnosis(
        format=Diagnosis.FORMAT,
        ready=ready,
        says=worst.says if worst else f"the model {target.model} answers in the API {target.api}",
        url=target.base_url,
        api=target.api if answered is not None else None,
        model=None if seen.nameless else target.model,
        findings=findings,
        network=network_of(seen),
        answer=answer_of(answered) if answered is not None else None,
        clock=clock_of(seen),
        models=list(seen.listing.models) if seen.listing is not None else [],
        limits=seen.limits,
        attempts=[
            Attempt(
                api=trial.api.name, status=trial.status, outcome=trial.outcome.name, note=trial.note
            )
            for trial in seen.trials
        ],
        usd=usd_spent(seen),
        target_toml=clean(target_toml(target, limits_of(seen))) if answered is not None else None,
        next=clean(_next(seen, worst)),
    )


def limits_of(seen: Seen) -> dict[str, int | str]:
    """The keys of `[limits]`, as far as answers state them."""
    limits: dict[str, int | str] = dict(seen.limits)
    if "requests_per_min" in limits and (urlsplit(seen.target.base_url).hostname or "").endswith(
        _AZURE
    ):
        limits["counted_over"] = _AZURE_COUNTS_OVER
    return limits


def _next(seen: Seen, worst: Finding | None) -> str:
    words = target_flags(seen.target)
    if seen.answered is None or worst is not None:
        return ""
    return shlex.join(
        ["tailproof", "run", *words, "--slo", "e2e:p95<2s", "--rate", first_rate(seen.limits)]
    )


def first_rate(limits: Mapping[str, int]) -> str:
    """The rate of a first run with requests of the usual sizes, within the limits of the key."""
    fitting = rate_within(limits, *USUAL_SIZES)
    return f"{float(min(_FIRST_RATE, fitting or _FIRST_RATE)):g}"
