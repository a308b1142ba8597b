"""Targets: URLs that can be asked, keys that stay in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.plan.target import Target, load_target
from bench.userfile import parse_model


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"base_url": "localhost:8000/v1"}, "is not a base URL"),
        ({"base_url": "ftp://h/v1"}, "is not a base URL"),
        ({"base_url": "https:///v1"}, "is not a base URL"),
        ({"base_url": "http://h:99999/v1"}, "Port out of range"),
        ({"base_url": "http://h:port/v1"}, "is not a URL"),
        ({"base_url": "http://[::1/v1"}, "is not a URL"),
        ({"base_url": "https://user:pw@h/v1"}, "api_key_env"),
        ({"base_url": "https://h/v1?key=pw"}, "the query holds 'key'"),
        ({"query": {"api_key": "pw"}}, "the query holds 'api_key'"),
        ({"base_url": "https://h/v1#x"}, "no fragment"),
        ({"base_url": "https://h/v1/responses"}, 'the path of api = "responses"'),
        ({"auth": "basic"}, "auth: 'basic' is not known; write 'bearer', 'api-key'"),
        ({"auth": "sigv4", "api_key_env": "K"}, "sigv4 signs with keys of AWS, and api_key_env"),
        ({"api": "converse", "api_key_file": "K"}, 'or send that one with auth = "bearer"'),
        ({"auth": "none", "api_key_env": "K"}, 'auth = "none" sends no key; leave out api_key_env'),
        (
            {"api_key_env": "K", "headers": {"authorization": "pw"}},
            "headers.authorization and api_key_env both say who sends; keep one",
        ),
        (
            {"auth": "api-key", "headers": {"X-Api-Key": "pw"}},
            "headers.X-Api-Key and auth both say who sends; keep one",
        ),
        ({"model": ""}, "model is empty"),
        ({"timeout": "0s"}, "timeouts must be above zero"),
        ({"timeout": 60}, "timeout: 60 is not a duration"),
        ({"headers": {"X": "a\nb"}}, "line break"),
        ({"headers": {"X\r\nY": "a"}}, "line break"),
        ({"extra_body": [1]}, "extra_body: the value does not fit"),
        (
            {"extra_body": {"messages": []}},
            "extra_body: 'messages' is set by tailproof; leave it out",
        ),
        ({"api_key": "sk-1"}, "api_key: unknown key; did you mean 'api_key_env'?"),
        ({"transport": "aiohttp"}, "write 'tailproof' or 'httpx'"),
    ],
)
def test_targets_that_cannot_be_asked_are_refused(keys: dict[str, Any], text: str) -> None:
    """A wrong URL, a header that would split the request, a key in the file: one sentence each."""
    fields = {"description": "made", "name": "t", "base_url": "https://h/v1", "model": "m", **keys}
    with pytest.raises(UserError) as caught:
        parse_model(Target, fields, "t.toml")
    assert text in str(caught.value)
    assert str(caught.value).startswith("t.toml: ")
    assert "pw" not in str(caught.value).replace("t.toml", "")


def test_a_url_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${ENV}` in a base URL is filled in for the wire alone, and checked like any other."""
    path = tmp_path / "mine.toml"
    path.write_text('description = "d"\nbase_url = "${TP_URL}/v1"\nmodel = "m"\n')
    monkeypatch.setenv("TP_URL", "https://h")
    loaded = load_target(str(path))
    assert (loaded.base_url, loaded.address) == ("${TP_URL}/v1", "https://h/v1")
    assert (loaded.name, loaded.embedded) == ("mine", False)
    for given, text in (
        ("https://h?sig=planted-1", "the query holds 'sig'"),
        ("https://h/v1/embeddings?a=planted-1&b=", 'the path of api = "embeddings"'),
    ):
        monkeypatch.setenv("TP_URL", given)
        path.write_text('description = "d"\nbase_url = "${TP_URL}"\nmodel = "m"\n')
        with pytest.raises(UserError, match=text) as caught:
            load_target(str(path))
        assert "planted" not in str(caught.value)
    path.write_text('description = "d"\nbase_url = "${TP_URL}/v1"\nmodel = "m"\n')
    monkeypatch.setenv("TP_URL", "h")
    with pytest.raises(UserError, match=r"base_url: '\$\{TP_URL\}/v1' is not a base URL"):
        load_target(str(path))
    monkeypatch.delenv("TP_URL")
    with pytest.raises(UserError, match="environment variable TP_URL is not set"):
        load_target(str(path))
