"""What must never be printed: keys, the values of headers, what stands behind `${ENV}`.

In: targets, which name an environment variable, a file or a command; texts that may hold what these
do. Out: `SecretStr`s; texts without them. Must stay true: a secret's text is asked for here and
where bytes go onto the wire, nowhere else (a test holds that); what prints a secret prints stars;
no text of a server, nor of a fault of ours, is kept or printed with a secret in it.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from bench.api.auth import STYLES, Header, Outgoing
from bench.errors import UserError
from bench.plan.target import Target
from bench.userfile import expand_env

#: A keyring that asks its owner has this long for an answer.
_COMMAND_S = 60
#: Shorter pieces of a header's value are words of the protocol, not secrets; so long a stretch of a
#: secret is kept nowhere.
_PIECE_LEAST = 8
#: Shorter ones are found in any text.
_SECRET_LEAST = 4
REDACTED = "[redacted]"
#: Keys of a body under which a literal text is taken for a secret.
_TELLING = re.compile(r"(?i)key|token|secret|password|auth|credential")
#: What this process was given to send, for the printing of faults that nobody foresaw.
_given: dict[str, None] = {}


def api_key(target: Target) -> SecretStr | None:
    """The target's key, None where it names none.

    Raises UserError where it cannot be had; no message holds any of it.
    """
    named = f"target {target.name}"
    if target.api_key_env is not None:
        where, source = f"{named}: api_key_env", f"environment variable {target.api_key_env}"
        text = os.environ.get(target.api_key_env, "")
        if not text:
            raise UserError(
                f"{source} is not set", where=where, remedy=f"export {target.api_key_env}=... first"
            )
    elif target.api_key_file is not None:
        where, source = f"{named}: api_key_file", target.api_key_file
        try:
            text = Path(target.api_key_file).expanduser().read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot be read ({type(error).__name__})",
                where=f"{where}: {source}",
                remedy="write the key, and nothing else, into it",
            ) from None
    elif target.api_key_command:
        where, source = f"{named}: api_key_command", target.api_key_command[0]
        text = _told_by(target.api_key_command, where)
    else:
        return None
    if not text:
        raise UserError(f"{source} holds nothing", where=where)
    return _for_a_header(text, source, where)


def _for_a_header(text: str, source: str, where: str) -> SecretStr:
    """What HTTP can carry in a header.

    Raises UserError that does not repeat it: a line break would begin another header.
    """
    if any(char in text for char in "\r\n\0"):
        raise UserError(f"{source} holds a line break", where=where)
    if not text.replace("\t", " ").isprintable() or not text.isascii():
        raise UserError(
            f"{source} holds a character that HTTP cannot carry",
            where=where,
            remedy="values are ASCII",
        )
    _given[text] = None
    return SecretStr(text)


@functools.cache
def _told_by(command: tuple[str, ...], where: str) -> str:
    """What a command prints, asked once a process: a keyring may ask its owner."""
    try:
        done = subprocess.run(  # noqa: S603 the user's own
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_S, check=True
        )
        return done.stdout.decode("utf-8").strip()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # its output may hold the key, and so may an error that repeats it
        why = (
            f"exit code {error.returncode}"
            if isinstance(error, subprocess.CalledProcessError)
            else type(error).__name__
        )
        raise UserError(
            f"{command[0]} gave no key ({why})", where=where, remedy="run it by hand"
        ) from None


def request_headers(target: Target) -> list[tuple[str, SecretStr]]:
    """The user's headers with `${ENV}` filled in, and the key: any of them may hold a secret.

    Raises UserError when a named variable is not set, holds what no header can, or the key cannot
    be had.
    """
    headers = []
    for name, value in target.headers.items():
        where = f"target {target.name}: headers.{name}"
        headers.append((name, _for_a_header(expand_env(value, where), "the value", where)))
    if (key := api_key(target)) is not None:
        made = STYLES[target.spoken.auth].headers(key.get_secret_value())
        headers += ((name, SecretStr(value)) for name, value in made)
    return headers


def request_signer(target: Target) -> Callable[[Outgoing], list[Header]] | None:
    """What signs each request of a target, where its API's style does; None where the headers of
    `request_headers` say it all.
    """
    sign = STYLES[target.spoken.auth].sign
    key = api_key(target) if sign is not None else None
    if sign is None or key is None:
        return None
    return functools.partial(sign, key.get_secret_value())


def secrets_of(target: Target) -> list[SecretStr]:
    """What no file may hold: header values, whole and without their scheme, what stands behind each
    `${ENV}`, and literal texts under telling keys of the extra body.

    The target's record states model, tier and region anyway: of a value that holds one, the rest is
    secret.
    """
    values = [value.get_secret_value() for _, value in request_headers(target)]
    pieces = [
        part
        for value in values
        for part in re.split(r"[\s=;,]+", value)
        if len(part) >= _PIECE_LEAST
    ]
    named = re.findall(r"\$\{(\w+)\}", target.base_url + json.dumps(target.extra_body))
    told = [
        *(plain for value in values if (plain := _basic(value))),
        *(os.environ[name] for name in named if os.environ.get(name)),
        *_literals(target.extra_body),
        *_signing_key(target),
    ]
    _given.update(dict.fromkeys(told))
    public = (target.model, target.tier, target.region)
    longer = "|".join(re.escape(name) for name in public if len(name) >= _PIECE_LEAST)
    found = [text for text in [*values, *pieces, *told] if text not in public]
    return [
        SecretStr(rest)
        for text in found
        for rest in (re.split(longer, text) if longer else [text])
        if rest
    ]


def _signing_key(target: Target) -> list[str]:
    """A key that no header holds, because it signs."""
    key = api_key(target) if STYLES[target.spoken.auth].sign is not None else None
    return [] if key is None else [key.get_secret_value()]


def _basic(value: str) -> str:
    """`user:password` of a Basic authorization (RFC 7617), which a server reads and may repeat."""
    scheme, _, encoded = value.partition(" ")
    try:
        return (
            base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
        )
    except ValueError:
        return ""


def _literals(body: Any, telling: bool = False) -> Iterator[str]:
    """Texts under telling keys that are written out."""
    if isinstance(body, dict):
        for key, inner in body.items():
            yield from _literals(inner, telling or bool(_TELLING.search(key)))
    elif isinstance(body, list):
        for inner in body:
            yield from _literals(inner, telling)
    elif telling and isinstance(body, str) and "${" not in body and body:
        yield body


def body_without_literals(body: Any, telling: bool = False) -> Any:
    """A JSON body whose literal texts under telling keys are redacted; what is only
    `${ENV}` stays.
    """
    if isinstance(body, dict):
        return {
            key: body_without_literals(inner, telling or bool(_TELLING.search(key)))
            for key, inner in body.items()
        }
    if isinstance(body, list):
        return [body_without_literals(inner, telling) for inner in body]
    literal = isinstance(body, str) and re.sub(r"\$\{\w+\}", "", body).strip()
    return REDACTED if telling and literal else body


def header_without_literal(value: str) -> str:
    """A header's value where it is only `${ENV}`, else that it was left out.

    `Bearer ${KEY}`: the scheme of an Authorization is no secret, any other literal may be one.
    """
    literal = re.sub(r"\$\{\w+\}", "", value).strip()
    return value if literal.lower() in ("", "bearer", "basic") else REDACTED


class Redaction:
    """Takes secrets out of texts: every stretch of 8 characters of one, as it is, in base64,
    percent-encoded or escaped for JSON; a secret of 4 to 7 characters where it stands whole.
    """

    def __init__(self, secrets: Iterable[SecretStr]):
        texts = {
            form
            for secret in secrets
            for form in _forms(secret.get_secret_value())
            if len(form) >= _SECRET_LEAST
        }
        self._stretches = {text[at:end] for text in texts for at, end in _stretches(text)}
        self._short = sorted(
            (text for text in texts if len(text) < _PIECE_LEAST), key=len, reverse=True
        )

    def clean(self, text: str) -> str:
        """The text with `[redacted]` for each secret or piece of one."""
        parts, reached = list[str](), 0
        for at, end in _stretches(text):
            if text[at:end] in self._stretches:
                if at > reached or not parts:
                    parts += [text[reached:at], REDACTED]
                reached = end
        text = "".join([*parts, text[reached:]])
        for short in self._short:
            text = text.replace(short, REDACTED)
        return text


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    return ((at, at + _PIECE_LEAST) for at in range(len(text) - _PIECE_LEAST + 1))


def _forms(text: str) -> Iterator[str]:
    """A text as a server may repeat it.

    Base64 has three forms, by where in the encoded text the secret begins.
    """
    data = text.encode("utf-8", "surrogateescape")
    yield from (text, quote(data, safe=""), json.dumps(text)[1:-1])
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Characters that also depend on what stood before are left out.
            yield encode(bytes(before) + data).decode().rstrip("=")[-(-4 * before // 3) :]


def fault_text() -> str:
    """The traceback of the exception being handled, without anything that this process was given to
    send.
    """
    return Redaction(map(SecretStr, _given)).clean(traceback.format_exc())
