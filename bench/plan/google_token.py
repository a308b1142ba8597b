"""The OAuth token of Google's default credentials, renewed before it expires.

In: Application Default Credentials (a file that a variable names, gcloud's own, or the machine's
metadata server), read by google-auth. Out: the token that is valid now. Must stay true: whoever
asks gets it at once, for a thread renews it; a token that cannot be renewed stays in use until it
can; no message holds any of it.
"""

from __future__ import annotations

import functools
import threading
from datetime import UTC
from typing import Any

from bench.api.auth import Header, Outgoing
from bench.clock import wall_ns
from bench.errors import UserError
from bench.plan import renewed

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: Google's own clients ask again this long before the end; tokens live for an hour.
_AHEAD_S = 225.0
_LEAST_WAIT_S = 10.0


class GoogleToken:
    """One token of a process, kept valid."""

    def __init__(self, credentials: Any, send: Any):
        """`send` carries requests to Google's token server. Raises what google-auth raises when
        there is no first token.
        """
        self._credentials, self._send = credentials, send
        self._headers: tuple[Header, ...] = ()
        self.renew()
        threading.Thread(target=self._keep, name="google token", daemon=True).start()

    @property
    def text(self) -> str:
        """The token itself."""
        return str(self._credentials.token)

    def sign(self, _request: Outgoing) -> list[Header]:
        """What a request sends of it."""
        return list(self._headers)

    def renew(self) -> None:
        """Get the next one."""
        self._credentials.refresh(self._send)
        renewed.note(self.text)
        headers = [("Authorization", f"Bearer {self.text}")]
        if project := getattr(self._credentials, "quota_project_id", None):
            headers.append(("x-goog-user-project", str(project)))
        self._headers = tuple(headers)

    def wait_s(self) -> float | None:
        """How long until the next one should be asked for; None for one that does not expire."""
        if (expiry := self._credentials.expiry) is None:
            return None
        left_s = expiry.replace(tzinfo=UTC).timestamp() - wall_ns() / 1e9
        return float(max(_LEAST_WAIT_S, left_s - _AHEAD_S))

    def _keep(self) -> None:
        from google.auth.exceptions import GoogleAuthError

        never = threading.Event()
        while (wait_s := self.wait_s()) is not None:
            never.wait(wait_s)
            try:
                self.renew()
            except GoogleAuthError:
                continue


@functools.cache
def google_token(where: str) -> GoogleToken:
    """The token of this process. Raises UserError about `where`."""
    try:
        import google.auth
        from google.auth import exceptions
        from google.auth.transport.requests import Request
    except ImportError as error:
        raise UserError(
            f"needs {error.name or 'google-auth'}",
            where=where,
            remedy="pip install 'tailproof[gcp]', or print a token by api_key_command",
        ) from None
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        return GoogleToken(credentials, Request())
    except exceptions.DefaultCredentialsError:
        raise UserError(
            "finds no Google credentials",
            where=where,
            remedy="run gcloud auth application-default login, or set"
            " GOOGLE_APPLICATION_CREDENTIALS",
        ) from None
    except exceptions.GoogleAuthError as error:
        # What it says may repeat what was sent.
        answer = error.args[1] if len(error.args) > 1 else None
        said = answer.get("error") if isinstance(answer, dict) else None
        raise UserError(
            f"gets no token from Google ({said or type(error).__name__})",
            where=where,
            remedy="gcloud auth application-default print-access-token shows what is wrong",
        ) from None
