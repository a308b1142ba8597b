"""What must never be printed: keys, the values of headers, the values of `${ENV}`.

In: targets, which name an environment variable, a file or a command; texts that may hold what these
do. Out: `SecretStr`s; texts without them. Must stay true: a secret's text is asked for here and
where bytes go onto the wire, nowhere else (a test checks that); a secret that is printed is stars;
no text of a server or of our own faults is kept or printed with a secret in it.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from bench.api.auth import STYLES, Auth, Header, Outgoing
from bench.errors import UserError
from bench.plan import renewed
from bench.plan.aws import aws_secrets, aws_signer
from bench.plan.google_token import GoogleToken, google_token
from bench.plan.renewed import CommandKey, command_key
from bench.plan.target import KEY_SOURCES, Target
from bench.userfile import expand_env

#: Shorter pieces of a header's value are words of the protocol, not secrets. No text that is kept
#: holds this many characters of a secret in a row.
_PIECE_LEAST = 8
#: Shorter secrets are not searched for: they would be found in any text.
_SECRET_LEAST = 4
REDACTED = "[redacted]"
#: Keys of a body under which a literal text is taken for a secret.
_SECRET_KEY = re.compile(r"(?i)key|token|secret|password|auth|credential")
#: Secrets that this process has read, to take them out of tracebacks.
_given: dict[str, None] = {}


def api_key(target: Target) -> SecretStr | None:
    """The target's key, None where it names none.

    Raises UserError where it cannot be had; no message holds any of it.
    """
    named = target.title
    if target.api_key_env is not None:
        where, source = f"{named}: api_key_env", f"environment variable {target.api_key_env}"
        text = os.environ.get(target.api_key_env, "")
        if not text:
            raise UserError(
                f"{source} is not set",
                where=where,
                remedy=f"export {target.api_key_env}=... first",
            )
    elif target.api_key_file is not None:
        where = f"{named}: api_key_file"
        source = target.api_key_file
        try:
            text = Path(target.api_key_file).expanduser().read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot be read ({type(error).__name__})",
                where=f"{where}: {source}",
                remedy="write the key, and nothing else, into it",
            ) from None
    elif (printed := _command_key(target)) is not None:
        return SecretStr(printed.text)
    else:
        return None
    if not text:
        raise UserError(f"{source} is empty", where=where)
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


def _text_for_a_header(text: str, source: str, where: str) -> str:
    return _for_a_header(text, source, where).get_secret_value()


def _command_key(target: Target) -> CommandKey | None:
    """The key of a target whose command prints it."""
    if not target.api_key_command:
        return None
    where = f"{target.title}: api_key_command"
    return command_key(target.api_key_command, target.refresh, where, _text_for_a_header)


def key_refused(target: Target) -> Callable[[int], None] | None:
    """What is to be told when a server answers 401, with the moment (monotonic ns) at which that
    request was sent; None where no other key can be had.
    """
    key = _command_key(target)
    return None if key is None else key.refused


def request_headers(target: Target) -> list[tuple[str, SecretStr]]:
    """The user's headers with `${ENV}` filled in, and the key, unless a command prints it, which
    may print another one later: any of them may hold a secret.

    Raises UserError when a named variable is not set, holds what no header can, or the key cannot
    be had.
    """
    headers = []
    for name, value in target.headers.items():
        where = f"{target.title}: headers.{name}"
        headers.append((name, _for_a_header(expand_env(value, where), "the value", where)))
    if not target.api_key_command and (key := api_key(target)) is not None:
        made = STYLES[target.auth_style].headers(key.get_secret_value())
        headers += ((name, SecretStr(value)) for name, value in made)
    return headers


def request_signer(target: Target) -> Callable[[Outgoing], list[Header]] | None:
    """What signs each request of a target, or adds the key that is valid now; None where its API
    wants `request_headers` alone.

    Raises UserError where the keys of AWS or the token of Google cannot be had.
    """
    if STYLES[target.auth_style].aws:
        return aws_signer(target)
    if (token := _google_token(target)) is not None:
        return token.sign
    style = STYLES[target.auth_style]
    if (printed := _command_key(target)) is not None:
        return functools.partial(_with_printed, style, printed)
    key = api_key(target) if style.sign is not None else None
    if style.sign is None or key is None:
        return None
    return functools.partial(style.sign, key.get_secret_value())


def _with_printed(style: Auth, key: CommandKey, request: Outgoing) -> list[Header]:
    return style.headers(key.text) + (style.sign(key.text, request) if style.sign else [])


def _google_token(target: Target) -> GoogleToken | None:
    """The token of a target that names no key and whose style has one without."""
    if not STYLES[target.auth_style].google or any(getattr(target, key) for key in KEY_SOURCES):
        return None
    return google_token(f"{target.title}: auth")


def secrets_of(target: Target) -> list[SecretStr]:
    """What no file may hold: header values (whole, and without their scheme), the value of each
    `${ENV}`, and literal texts under keys of the extra body that name a secret.

    The target's record names model, tier and region anyway: of a value that holds one of these, the
    rest is secret.
    """
    values = [value.get_secret_value() for _, value in request_headers(target)]
    pieces: list[str] = []
    for value in values:
        parts = re.split(r"[\s=;,]+", value)
        pieces += [part for part in parts if len(part) >= _PIECE_LEAST]
    others = _beside_headers(target, values)
    _given.update(dict.fromkeys(others))
    public = (target.model, target.tier, target.region)
    longer = "|".join(re.escape(name) for name in public if len(name) >= _PIECE_LEAST)
    secrets: list[SecretStr] = []
    for text in [*values, *pieces, *others]:
        if text not in public:
            if longer:
                parts = re.split(longer, text)
            else:
                parts = [text]
            secrets += [SecretStr(part) for part in parts if part]
    return secrets


def _beside_headers(target: Target, values: list[str]) -> list[str]:
    """Secrets that are no header's value: passwords of Basic `values`, values of `${ENV}`, literals
    of the extra body, and a key that no header holds because it signs.
    """
    found = [password for password in map(_basic, values) if password]
    names = re.findall(
        r"\$\{(\w+)\}", target.base_url + json.dumps([target.query, target.extra_body])
    )
    found += [os.environ[name] for name in names if os.environ.get(name)]
    found += _literals(target.extra_body)
    if STYLES[target.auth_style].aws:
        found += aws_secrets()
    elif (token := _google_token(target)) is not None:
        found.append(token.text)
    elif STYLES[target.auth_style].sign is not None or target.api_key_command:
        key = api_key(target)
        if key is not None:
            found.append(key.get_secret_value())
    return found


def _basic(value: str) -> str:
    """`user:password` of a Basic authorization (RFC 7617), which a server reads and may repeat."""
    scheme, _, encoded = value.partition(" ")
    try:
        if scheme.lower() == "basic":
            return base64.b64decode(encoded, validate=True).decode()
        return ""
    except ValueError:
        return ""


def _literals(body: Any, secret: bool = False) -> Iterator[str]:
    if isinstance(body, dict):
        for key, inner in body.items():
            yield from _literals(inner, secret or bool(_SECRET_KEY.search(key)))
    elif isinstance(body, list):
        for inner in body:
            yield from _literals(inner, secret)
    elif secret and isinstance(body, str) and "${" not in body and body:
        yield body


def body_without_literals(body: Any, secret: bool = False) -> Any:
    """A JSON body whose literal texts under keys that name a secret are redacted; what is only
    `${ENV}` stays.
    """
    if isinstance(body, dict):
        return {
            key: body_without_literals(inner, secret or bool(_SECRET_KEY.search(key)))
            for key, inner in body.items()
        }
    if isinstance(body, list):
        return [body_without_literals(inner, secret) for inner in body]
    literal = isinstance(body, str) and re.sub(r"\$\{\w+\}", "", body).strip()
    return REDACTED if secret and literal else body


def header_without_literal(value: str) -> str:
    """A header's value where it is only `${ENV}`, else that it was left out.

    `Bearer ${KEY}`: the scheme of an Authorization is no secret, any other literal may be one.
    """
    literal = re.sub(r"\$\{\w+\}", "", value).strip()
    if literal.lower() in ("", "bearer", "basic"):
        return value
    return REDACTED


#: AWS repeats what a wrong signature covered. The token there may be younger than the redaction.
_REPEATED = re.compile(r"(?i)(x-amz-security-token\W{1,5})[\w+/=%-]{8,}")


class Redaction:
    """Takes secrets out of texts: every stretch of 8 characters of one, as it is, in base64 or
    hexadecimal, percent-encoded, escaped for JSON or HTML; a secret of 4 to 7 characters where it
    is whole. Keys that are renewed later are known too.
    """

    def __init__(self, secrets: Iterable[SecretStr]):
        self._stretches: set[str] = set()
        self._short: list[str] = []
        self._renewed = 0
        self._know(secret.get_secret_value() for secret in secrets)

    def _know(self, secrets: Iterable[str]) -> None:
        for text in {form for secret in secrets for form in _forms(secret)}:
            self._stretches.update(text[at:end] for at, end in _stretches(text))
            if _SECRET_LEAST <= len(text) < _PIECE_LEAST:
                self._short.append(text)
        self._short.sort(key=len, reverse=True)

    def clean(self, text: str) -> str:
        """The text with `[redacted]` for each secret or piece of one."""
        if self._renewed < len(renewed.SEEN):
            later, self._renewed = renewed.SEEN[self._renewed :], len(renewed.SEEN)
            self._know(later)
        text = _REPEATED.sub(rf"\1{REDACTED}", text)
        parts = list[str]()
        reached = 0
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
    in_json = json.dumps(text)[1:-1]
    yield from (text, html.escape(text), in_json, in_json.replace("/", r"\/"))
    yield re.sub("[=&<>']", lambda mark: rf"\u{ord(mark[0]):04x}", in_json)
    for safe in ("", "/"):
        quoted = quote(data, safe=safe)
        yield from (quoted, re.sub("%..", lambda mark: mark[0].lower(), quoted))
    yield from (data.hex(), data.hex().upper())
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Characters that also depend on the bytes before are left out.
            yield encode(bytes(before) + data).decode().rstrip("=")[-(-4 * before // 3) :]


def fault_text() -> str:
    """The traceback of the exception being handled, without the secrets that this process read."""
    return Redaction(map(SecretStr, _given)).clean(traceback.format_exc())
