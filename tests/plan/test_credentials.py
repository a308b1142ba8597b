"""Keys and headers: where they come from, and that nothing prints them."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from bench.api.auth import Outgoing
from bench.errors import UserError
from bench.plan.credentials import (
    Redaction,
    api_key,
    request_headers,
    request_signer,
    secrets_of,
)
from bench.plan.target import Target
from bench.userfile import parse_model
from tests.support.planned import target

KEY = "sk-planted-0123456789"


def shown(headers: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, value.get_secret_value()) for name, value in headers]


def test_headers_take_their_values_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${ENV}` and the key are filled in for the wire; neither the model nor what holds them prints
    a value.
    """
    monkeypatch.setenv("TP_KEY", KEY)
    monkeypatch.setenv("TP_TEAM", "blue")
    asked = target(api_key_env="TP_KEY", headers={"X-Team": "team ${TP_TEAM}"})
    headers = request_headers(asked)
    assert shown(headers) == [("X-Team", "team blue"), ("Authorization", f"Bearer {KEY}")]
    for printed in (
        repr(asked),
        asked.model_dump_json(),
        repr(headers),
        f"{headers[1][1]}",
        str(secrets_of(asked)),
    ):
        assert "planted" not in printed
        assert "blue" not in printed


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("", ("Authorization", f"Bearer {KEY}")),
        ("bearer", ("Authorization", f"Bearer {KEY}")),
        ("api-key", ("api-key", KEY)),
        ("x-api-key", ("x-api-key", KEY)),
        ("x-goog-api-key", ("x-goog-api-key", KEY)),
    ],
)
def test_a_key_goes_into_the_header_that_is_asked_for(
    auth: str, header: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One header, whose value no text keeps."""
    monkeypatch.setenv("TP_KEY", KEY)
    asked = target(api_key_env="TP_KEY", auth=auth)
    assert shown(request_headers(asked)) == [header]
    assert Redaction(secrets_of(asked)).clean(f"bad:{KEY}!") == "bad:[redacted]!"


def test_no_key_is_sent_beside_a_header_of_the_users() -> None:
    """`auth = "none"`: the header stands alone; without a key there is no header either."""
    headers = {"api-key": "k"}
    assert shown(request_headers(target(auth="none", headers=headers))) == [("api-key", "k")]
    assert request_headers(target()) == []


def test_what_a_query_takes_from_the_environment_is_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the URL and in the table."""
    monkeypatch.setenv("TP_A", "planted-a1")
    monkeypatch.setenv("TP_B", "planted-b2")
    asked = target(base_url="http://h/v1?a=${TP_A}", query={"b": "${TP_B}"})
    assert {secret.get_secret_value() for secret in secrets_of(asked)} == {
        "planted-a1",
        "planted-b2",
    }
    assert "planted" not in asked.model_dump_json() + asked.shown_ready_url


def test_a_key_from_a_file_or_a_command_is_the_text_without_its_line_end(tmp_path: Path) -> None:
    """A file's text and a command's output make the same header as a variable would."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    printing = (sys.executable, "-c", f"print({KEY!r})")
    made = [("Authorization", f"Bearer {KEY}")]
    assert shown(request_headers(target(api_key_file=str(file)))) == made
    adds = request_signer(target(api_key_command=printing))
    assert adds is not None
    assert adds(Outgoing("POST", "http://h/v1", (), b"", 0)) == made


def test_a_command_is_asked_once(tmp_path: Path) -> None:
    """However often its key is needed, a keyring asks its owner one time."""
    asked = tmp_path / "asked"
    command = (sys.executable, "-c", f"open({str(asked)!r}, 'a').write('x'); print({KEY!r})")
    for _ in range(3):
        api_key(target(api_key_command=command))
    assert asked.read_text() == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "environment variable TP_KEY is not set; export TP_KEY=... first"),
        ("", "is not set"),
        (f"{KEY}\nb", "holds a line break"),
    ],
)
def test_a_key_that_is_not_there_is_asked_for(
    value: str | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing, empty or broken variable is named with the key that names it; its value is not
    shown.
    """
    monkeypatch.delenv("TP_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TP_KEY", value)
    with pytest.raises(UserError) as caught:
        request_headers(target(api_key_env="TP_KEY"))
    assert str(caught.value).startswith("target t: api_key_env: ")
    assert text in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (f"print({KEY!r}); raise SystemExit(3)", "gave no key (exit code 3)"),
        ("pass", "is empty"),
        (f"print({KEY!r}); print({KEY!r})", "holds a line break"),
    ],
)
def test_a_command_that_gives_no_key_is_named_without_what_it_printed(code: str, why: str) -> None:
    """Its exit code, its silence or its many lines are told, its output is not."""
    with pytest.raises(UserError) as caught:
        api_key(target(api_key_command=(sys.executable, "-c", code)))
    assert why in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named() -> None:
    """The key of the target's file, the file and a remedy."""
    with pytest.raises(UserError, match="target t: api_key_file: /no/such/key: cannot be read"):
        api_key(target(api_key_file="/no/such/key"))


def test_one_source_at_most() -> None:
    """Two sources for one key are refused where they are written."""
    fields = {
        "description": "made",
        "base_url": "https://h/v1",
        "model": "m",
        "api_key_env": "A",
        "api_key_file": "b",
    }
    with pytest.raises(UserError, match="exclude each other"):
        parse_model(Target, fields, "t.toml")


def test_a_value_of_the_wrong_kind_is_not_repeated() -> None:
    """A key written where a table of headers belongs is told from its place alone."""
    fields = {
        "description": "made",
        "base_url": "https://h/v1",
        "model": "m",
        "headers": f"Authorization: {KEY}",
    }
    with pytest.raises(UserError) as caught:
        parse_model(Target, fields, "t.toml")
    assert "t.toml: headers: the value does not fit" in str(caught.value)
    assert "planted" not in str(caught.value)


def test_secrets_are_headers_whole_and_in_pieces_and_what_variables_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scheme of a header is no secret, a short word is none; a model's name behind a variable
    is public.
    """
    monkeypatch.setenv("TP_TOKEN", "tok-abcdefgh")
    monkeypatch.setenv("TP_MODEL", "m")
    asked = target(
        headers={"Authorization": "Basic dXNlcjpwYXNz"},
        base_url="https://h/${TP_TOKEN}/v1",
        extra_body={"name": "${TP_MODEL}"},
    )
    assert [secret.get_secret_value() for secret in secrets_of(asked)] == [
        "Basic dXNlcjpwYXNz",
        "dXNlcjpwYXNz",
        "user:pass",
        "tok-abcdefgh",
    ]


def test_texts_under_telling_keys_of_a_body_are_secrets_and_public_names_are_none() -> None:
    """Literals below key, token, password and the like; of a header that holds the model's name,
    the rest alone.
    """
    asked = target(
        model="gpt-4o-mini",
        headers={"X-Route": "gpt-4o-mini/very-private-lane"},
        extra_body={
            "api_token": "tok-abcdefgh",
            "auth": {"deep": ["pass-ijklmnop", 3]},
            "stop": "not-a-secret",
        },
    )
    clean = Redaction(secrets_of(asked)).clean
    assert clean("gpt-4o-mini not-a-secret") == "gpt-4o-mini not-a-secret"
    assert (
        clean("tok-abcdefgh, pass-ijklmnop, very-private") == "[redacted], [redacted], [redacted]"
    )


@pytest.mark.parametrize("before", ["", "u", "us", "Bearer "])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_a_secret_is_found_wherever_in_the_encoded_text_it_begins(
    before: str, encode: Callable[[bytes], bytes]
) -> None:
    """Base64 of a text depends on what stood before it, in three ways; of what the secret alone
    decides nothing stays.
    """
    encoded = encode(f"{before}{KEY}?and more".encode()).decode()
    first, last = -(-4 * len(before) // 3), 4 * len(before + KEY) // 3
    kept = Redaction([SecretStr(KEY)]).clean(f"you sent {encoded}.")
    assert kept.startswith("you sent ")
    assert not any(encoded[at : at + 8] in kept for at in range(first, last - 7))


@pytest.mark.parametrize("secret", [r'a"b\c/d+e=f', "two words+100%", "schlüssel-ä-ö"])
def test_a_secret_is_found_as_json_and_urls_write_it(secret: str) -> None:
    """A server repeats a value inside a JSON text or a URL of its own; one of a few characters only
    where it is whole.
    """
    clean = Redaction([SecretStr(secret)]).clean
    in_json = json.dumps(secret)[1:-1]
    for written in (
        in_json,
        in_json.replace("/", r"\/"),
        in_json.replace("=", r"\u003d"),
        html.escape(secret),
        quote(secret, safe=""),
        quote(secret),
        re.sub("%..", lambda mark: mark[0].lower(), quote(secret)),
        secret.encode().hex(),
        secret.encode().hex().upper(),
        secret[:9],
        secret[2:],
    ):
        left = clean(f"<{written}>").replace("[redacted]", "")
        assert not any(written[at : at + 8] in left for at in range(len(written) - 7)), written
    assert (
        Redaction([SecretStr("abcd"), SecretStr("xyz")]).clean("abcd abc xyz")
        == "[redacted] abc xyz"
    )
