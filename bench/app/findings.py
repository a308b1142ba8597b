"""What was seen at an endpoint, in sentences.

In: a `Seen`. Out: findings, each with a state and, where something has to be done, a remedy. Must
stay true: a sentence says what was seen and a remedy what to do; what nothing shows is unknown and
no fault; no key, header or text of an answer is repeated.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.api.cause import Cause
from bench.api.guess import is_about_model, key_variable
from bench.app.seen import Seen, answer_of, clock_of, usd_spent
from bench.load.network_path import NetworkPath
from bench.load.trial import Trial
from bench.plan.target import KEY_SOURCES, Target
from bench.plan.target_text import needs_secret
from bench.record.records.diagnosis import AnswerFound, ClockFound, Finding, State
from bench.record.samples import Outcome
from bench.units import MS, S, show_duration, show_list, show_usd

#: Clocks farther apart than this are told of.
CLOCK_NOTE_NS = 2 * S
#: Of a server's models so many are named.
_FEW = 5
_REACH = {
    Outcome.refused: "check that the server runs and the port is right",
    Outcome.dns: "check the host name",
    Outcome.tls: "check the certificate, name its CA (--ca-file), or write http://",
    Outcome.timeout_connect: "check address, firewall and proxy",
}


def findings_of(seen: Seen) -> list[Finding]:
    """All of them, in the order in which they are read."""
    return [*_way(seen), *_answers(seen)]


def _way(seen: Seen) -> Iterator[Finding]:
    host = urlsplit(seen.target.base_url).netloc
    if seen.failure is not None:
        outcome, note = seen.failure.outcome, seen.failure.note
        yield Finding(
            about="network",
            state="bad",
            says=f"cannot reach {host} ({outcome.name}: {note})",
            remedy=_REACH.get(outcome, "check --url"),
        )
        return
    path = seen.path
    if path is None:
        return
    steps = [f"DNS {_ms(path.dns_ns)}", f"connect {_ms(path.connect_ns)}"]
    if path.tls_ns >= 0:
        steps.append(f"{path.tls_version} {_ms(path.tls_ns)}")
    if seen.listing and seen.listing.round_trip_ns >= 0:
        steps.append(f"HTTP round trip {_ms(seen.listing.round_trip_ns)}")
    yield Finding(about="network", state="ok", says=f"{path.address}: {', '.join(steps)}")
    if path.tls_ns >= 0:
        yield _http(path)
        if seen.target.insecure:
            yield Finding(
                about="tls",
                state="note",
                says="the certificate is not verified: whoever answers is believed, and sent the"
                " key",
                remedy="leave out --insecure, or name the CA (--ca-file)",
            )


def _http(path: NetworkPath) -> Finding:
    if path.alpn == "h2":
        says = "HTTP/2 and 1.1; a run sends HTTP/1.1 on stamped sockets (--transport httpx: HTTP/2)"
    elif path.alpn:
        says = "HTTP/1.1 alone"
    else:
        says = "HTTP/1.1; the server chooses no version (no ALPN)"
    return Finding(about="http", state="ok", says=says)


def _ms(ns: int) -> str:
    return f"{ns / MS:.3g} ms" if ns < 1000 * MS else show_duration(ns)


# ---- what it answers


def _answers(seen: Seen) -> Iterator[Finding]:
    if seen.listing is None:
        return
    trial = seen.last
    if seen.nameless:
        yield _named_none(seen)
    elif trial is not None and seen.answered is None:
        yield _refused(seen, trial)
    elif trial is not None:
        yield from _of_answer(seen, trial)
    if found := clock_of(seen):
        yield _clock_finding(found)
    if seen.answered is not None and needs_secret(seen.target):
        yield Finding(
            about="auth",
            state="note",
            says="a value that was typed may be a secret: it is left out of what is printed here",
            remedy="export it, and write ${NAME} in its place",
        )


def _named_none(seen: Seen) -> Finding:
    assert seen.listing is not None
    if seen.listing.status in (401, 403):
        return _auth_refused(seen, seen.listing.status)
    models = seen.listing.models
    if not models:
        status = f"answers {seen.listing.status}" if seen.listing.status else "does not answer"
        return Finding(
            about="model",
            state="bad",
            says=f"no model is named, and {seen.target.shown_ready_url} lists none ({status})",
            remedy="add --model NAME",
        )
    return Finding(
        about="model",
        state="bad",
        says=f"no model is named, and the server has {len(models)}: {_few(models)}",
        remedy=f"add --model {shlex.quote(models[0])}",
    )


def _few(models: tuple[str, ...]) -> str:
    return ", ".join(models[:_FEW]) + (", …" if len(models) > _FEW else "")


def _refused(seen: Seen, trial: Trial) -> Finding:
    """Why no request was answered, and what to do."""
    target = seen.target
    if trial.status in (401, 403):
        return _auth_refused(seen, trial.status)
    if is_about_model(trial.status, bytes(trial.body), target.model):
        models = seen.listing.models if seen.listing else ()
        listed = f"; it has {_few(models)}" if models else ""
        return Finding(
            about="model",
            state="bad",
            says=f"the server does not know the model {target.model!r} ({trial.note}){listed}",
            remedy="name another with --model",
        )
    if 300 <= trial.status < 400:
        return _redirected(seen, trial)
    if trial.status == 429:
        whose = trial.cause(trial.outcome, trial.note)
        what = "credit" if whose is Cause.spend else "rate limit"
        return Finding(
            about="limits",
            state="bad",
            says=f"the {what} of the key is used up ({trial.note})",
            remedy="wait, or use another key",
        )
    if seen.speaks_none:
        return _no_api(seen)
    return Finding(
        about="api",
        state="bad",
        says=f"{target.api} at {target.base_url} fails ({trial.outcome.name}: {trial.note})",
        remedy="see what the server's own log says",
    )


def _redirected(seen: Seen, trial: Trial) -> Finding:
    """Where to, without what a query may prove."""
    to = urlsplit(dict(trial.headers).get(b"location", b"").decode("latin-1"))
    own = urlsplit(seen.target.base_url)
    if to.netloc:
        remedy = f"write --url {to.scheme or own.scheme}://{to.netloc}{own.path}"
    else:
        remedy = "check the path of --url"
    says = f"the server sends elsewhere (HTTP {trial.status}), and a run follows no redirect"
    return Finding(about="api", state="bad", says=says, remedy=remedy)


def _no_api(seen: Seen) -> Finding:
    tried = list(dict.fromkeys(trial.api.name for trial in seen.trials))
    statuses = list(dict.fromkeys(str(trial.status) for trial in seen.trials))
    url = seen.target.base_url
    if seen.better_url:
        remedy = f"write --url {seen.better_url}: models are listed there"
    elif urlsplit(url).path.strip("/"):
        remedy = "check the path of --url: most base URLs end in /v1"
    else:
        remedy = "add the path of its API to --url, such as /v1 or /api/v1"
    last = seen.trials[-1]
    return Finding(
        about="api",
        state="bad",
        says=(
            f"no API answers below {url} ({show_list(tried)} were tried): HTTP"
            f" {show_list(statuses)} ({last.note})"
        ),
        remedy=remedy,
    )


def _auth_refused(seen: Seen, status: int) -> Finding:
    target = seen.target
    source = next((name for name in KEY_SOURCES if getattr(target, name)), None)
    variable = key_variable(target.base_url)
    if source is None and not target.headers and target.auth_style not in ("sigv4", "google"):
        return Finding(
            about="auth",
            state="bad",
            says=f"the server wants a key and got none (HTTP {status})",
            remedy=f"export {variable}=…, and add --api-key-env {variable}",
        )
    held = {
        "api_key_env": f"in {target.api_key_env}",
        "api_key_file": f"in {target.api_key_file}",
        "api_key_command": "that --api-key-command prints",
        None: "or signature",
    }[source]
    may = "is not allowed this" if status == 403 else "is refused"
    return Finding(
        about="auth",
        state="bad",
        says=f"the key {held} {may} (HTTP {status}, sent as {target.auth_style})",
        remedy="check the key, its rights and --auth",
    )


def _of_answer(seen: Seen, trial: Trial) -> Iterator[Finding]:
    target, found = seen.target, answer_of(trial)
    path = urlsplit(target.shown_request_url).path
    others = len({each.api.name for each in seen.trials}) - 1
    after = f", after {others} other{'s' * (others > 1)}" if others else ""
    yield Finding(about="api", state="ok", says=f"{target.api} (POST {path}){after}")
    yield _auth_taken(seen)
    yield _model(seen, found)
    yield _streaming(target, found)
    if found.buffered is not None:
        yield _buffering(found)
    yield _usage(target, found)
    yield _tier(target, found)
    yield _limits_found(seen)
    yield _cost(seen)


def _auth_taken(seen: Seen) -> Finding:
    target = seen.target
    if target.api_key_env is not None:
        says = f"the key in {target.api_key_env} is taken, sent as {target.auth_style}"
    elif any(getattr(target, name) for name in KEY_SOURCES) or target.headers:
        says = f"the key is taken, sent as {target.auth_style}"
    elif target.auth_style in ("sigv4", "google"):
        says = f"{target.auth_style} is taken"
    else:
        says = "no key is asked for"
    return Finding(about="auth", state="ok", says=says)


def _model(seen: Seen, found: AnswerFound) -> Finding:
    listed = seen.listing.models if seen.listing else ()
    name = seen.target.model
    if found.model is not None and found.model != name:
        return Finding(about="model", state="note", says=f"asked for {name}, {found.model} answers")
    among = f", one of {len(listed)} that are listed" if name in listed else ""
    return Finding(about="model", state="ok", says=f"{name}{among}")


def _streaming(target: Target, found: AnswerFound) -> Finding:
    if not target.spoken.makes_tokens:
        return Finding(about="streaming", state="ok", says="none: this API answers at once")
    if not found.streamed:
        return Finding(
            about="streaming",
            state="note",
            says="the answer came whole though a stream was asked for: no TTFT can be judged",
        )
    if not found.token_events:
        return Finding(
            about="streaming",
            state="note",
            says="it streams, but no token came: a reasoning model may think for longer than the"
            " few that were asked for",
            remedy="ask for more output tokens in the load",
        )
    took = f"TTFT {_span(found.ttft_ms)}, end-to-end {_span(found.e2e_ms)}"
    return Finding(
        about="streaming",
        state="ok",
        says=f"{found.token_events} events with tokens in {found.reads} reads; {took}",
    )


def _span(ms: float | None) -> str:
    return "unknown" if ms is None else show_duration(round(ms * MS))


def _buffering(found: AnswerFound) -> Finding:
    if found.buffered:
        return Finding(
            about="buffering",
            state="note",
            says=(
                f"all {found.token_events} events with tokens came at once, "
                f"{_span(found.ttft_ms)} after the request: something between holds the stream"
                " back, so TTFT is the time of the whole answer"
            ),
            remedy="turn its buffering off (nginx: proxy_buffering off), or judge e2e alone",
        )
    return Finding(
        about="buffering",
        state="ok",
        says=f"none: tokens came over {_span(found.spread_ms)}",
    )


def _usage(target: Target, found: AnswerFound) -> Finding:
    if found.prompt_tokens is None and found.output_tokens is None:
        return Finding(
            about="usage", state="note", says="the answer states no tokens; a run counts events"
        )
    asked = "" if target.include_usage else " (without being asked: it refuses stream_options)"
    counts = [
        f"{count} {word}" if count is not None else f"no {word}"
        for count, word in ((found.prompt_tokens, "in"), (found.output_tokens, "out"))
    ]
    return Finding(about="usage", state="ok", says=f"{', '.join(counts)}{asked}")


def _tier(target: Target, found: AnswerFound) -> Finding:
    if found.tier is None:
        state: State = "note" if target.tier else "unknown"
        return Finding(about="tier", state=state, says="the answer names no tier")
    if not target.tier:
        return Finding(about="tier", state="ok", says=f"{found.tier} served it; none was asked for")
    honoured = target.spoken.honours(target.tier, found.tier)
    return Finding(
        about="tier",
        state="ok" if honoured else "note",
        says=f"asked for {target.tier}, served by {found.tier}",
    )


def _limits_found(seen: Seen) -> Finding:
    if not seen.limits:
        return Finding(about="limits", state="unknown", says="no header states a rate limit")
    said = [
        f"{amount:,} {key.replace('_per_', ' a ').replace('_', ' ')}"
        for key, amount in seen.limits.items()
    ]
    return Finding(about="limits", state="ok", says=", ".join(said))


def _cost(seen: Seen) -> Finding:
    requests = f"{len(seen.trials)} small request{'s' * (len(seen.trials) != 1)}"
    usd = usd_spent(seen)
    if usd is None:
        return Finding(about="cost", state="unknown", says=f"{requests}; no price is known")
    return Finding(about="cost", state="ok", says=f"{requests}, {show_usd(usd)} USD")


def _clock_finding(found: ClockFound) -> Finding:
    if found.high_ms >= -CLOCK_NOTE_NS / MS and found.low_ms <= CLOCK_NOTE_NS / MS:
        return Finding(
            about="clock",
            state="ok",
            says="this machine's and the server's agree within a second (Date has whole seconds)",
        )
    ahead = "behind" if found.low_ms > 0 else "ahead of"
    sizes = sorted((abs(found.low_ms), abs(found.high_ms)))
    return Finding(
        about="clock",
        state="note",
        says=(
            f"this machine's is {_span(sizes[0])} to {_span(sizes[1])} {ahead} the server's;"
            " latencies do not suffer, signatures, expiry of keys and times in reports do"
        ),
        remedy="set it by NTP",
    )
