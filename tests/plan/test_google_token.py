"""Google's OAuth: tokens of a service account, from a token server on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.api.auth import Outgoing
from bench.errors import UserError
from bench.plan import google_token as module
from bench.plan.credentials import Redaction, request_headers, request_signer, secrets_of
from bench.plan.google_token import google_token
from bench.plan.target import Target
from tests.support.patience import PATIENCE_S

OUTGOING = Outgoing("POST", "https://h/x", (), b"{}", 0)


def token(number: int) -> str:
    """Tokens that have nothing in common."""
    return hashlib.sha256(b"%d" % number).hexdigest()


class TokenServer(ThreadingHTTPServer):
    """Gives one token after another to signed requests, or an error."""

    def __init__(self, public: rsa.RSAPublicKey, lives_s: int = 3600):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.public, self.lives_s, self.refuses = public, lives_s, False
        self.given, self.twice = 0, threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_POST(self) -> None:
        """A grant by JWT (RFC 7523), whose signature is checked by google-auth's own reader."""
        from google.auth import jwt

        sent = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        pem = self.server.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        claims = jwt.decode(sent["assertion"][0], certs=pem, verify=False)
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        self.server.given += 1
        if self.server.refuses:
            self._reply(400, {"error": "invalid_grant", "error_description": "t-secret"})
        else:
            self._reply(
                200,
                {
                    "access_token": token(self.server.given),
                    "expires_in": self.server.lives_s,
                    "token_type": "Bearer",
                },
            )
        if self.server.given >= 2:
            self.server.twice.set()

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A service account's key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def server(
    key: rsa.RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TokenServer]:
    """A token server, and the account's file where google-auth looks for it."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with TokenServer(key.public_key()) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        account = {
            "type": "service_account",
            "client_email": "bench@p-1.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "private_key_id": "k-1",
            "project_id": "p-1",
            "token_uri": f"http://127.0.0.1:{made.server_address[1]}/token",
        }
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        google_token.cache_clear()
        yield made
        google_token.cache_clear()
        made.shutdown()


def target(**keys: Any) -> Target:
    """A Vertex target."""
    base = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
    return Target(
        description="d", name="t", api="gemini", base_url=base, model="m", auth="google", **keys
    )


def test_a_request_carries_a_token_of_the_default_credentials(server: TokenServer) -> None:
    """One token for all requests of the process, known as a secret."""
    sign = request_signer(target())
    assert sign is not None
    assert sign(OUTGOING) == sign(OUTGOING) == [("Authorization", f"Bearer {token(1)}")]
    assert token(1) in {secret.get_secret_value() for secret in secrets_of(target())}
    assert request_headers(target()) == []
    assert server.given == 1


def test_a_token_is_renewed_before_it_expires(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread asks again ahead of time; what signs takes the new one."""
    never = threading.Event()
    wait_s = google_token("target t: auth").wait_s()
    assert wait_s is not None
    assert 3600 - 225 - 60 < wait_s <= 3600 - 225
    known = Redaction(secrets_of(target()))
    server.lives_s = 60
    monkeypatch.setattr(module, "_LEAST_WAIT_S", 0.01)
    google_token.cache_clear()
    server.twice.clear()
    sign = request_signer(target())
    assert sign is not None
    assert server.twice.wait(PATIENCE_S)
    server.lives_s = 3600
    while (sent := sign(OUTGOING)) == [("Authorization", f"Bearer {token(2)}")]:
        never.wait(0.01)
    ((name, value),) = sent
    assert (name, value[:7]) == ("Authorization", "Bearer ")
    assert known.clean(f"is {value[7:]} yours?") == "is [redacted] yours?"


def test_a_key_of_the_targets_own_is_a_bearer_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gives a token wants no other."""
    monkeypatch.setenv("TP_TOKEN", "given-token")
    made = target(api_key_env="TP_TOKEN")
    sent = {name: value.get_secret_value() for name, value in request_headers(made)}
    assert sent == {"Authorization": "Bearer given-token"}
    assert request_signer(made) is None


def test_what_cannot_be_had_is_said_in_one_sentence(
    server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by Google, no credentials, no google-auth: with the remedy, and no secret."""
    server.refuses = True
    with pytest.raises(UserError) as refused:
        google_token("target t: auth")
    assert "gets no token from Google (invalid_grant)" in str(refused.value)
    assert "t-secret" not in str(refused.value)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError, match="finds no Google credentials") as none:
        google_token("target t: auth")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(none.value)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UserError, match=r"needs google.auth") as missing:
        google_token("target t: auth")
    assert "pip install 'tailproof[gcp]'" in str(missing.value)
