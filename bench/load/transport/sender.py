"""Two ways to send a lane's requests: on our stamped sockets, or through stock httpx.

In: a target's URL and headers, then one body a request. Out: `Receiver` events. Must stay
true: URL, header and TLS rules are httpx's in both; the stock way exists for HTTP/2 and
outgoing proxies, stamps in user space, and the manifest says which was used.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.request import getproxies, proxy_bypass

from bench.api.auth import Outgoing
from bench.clock import wall_ns
from bench.errors import TargetUnreachable, UserError
from bench.load.transport.interface import Handle, Receiver, Sender
from bench.load.transport.pool import Pool
from bench.load.transport.stamps import StampedReader
from bench.load.transport.stock import LOOPBACK, StockSender, classify_httpx, client_of
from bench.load.transport.wire import empty_request, httpx, origin_of, signed_headers, verify_of
from bench.plan.credentials import Redaction, request_signer, secrets_of
from bench.plan.target import KEY_SOURCES, Target
from bench.record.samples import Outcome
from bench.units import S


class StampedSender:
    """Our transport: one pool for the lane, the head written once, the body a request."""

    def __init__(self, target: Target, reader: StampedReader):
        request = empty_request("POST", target.request_url, target)
        lines = [b"POST " + request.url.raw_path + b" HTTP/1.1"]
        lines += [
            name + b": " + value
            for name, value in request.headers.raw
            if name.lower() != b"content-length"
        ]
        # As it is sent: httpx encodes what a URL cannot hold.
        self._url, self._fixed = str(request.url), signed_headers(request.headers)
        self._sign = request_signer(target)
        head = b"\r\n".join(lines).replace(b"%", b"%%")
        self._head = head + b"\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n"
        verify = verify_of(target)
        self._pool = Pool(
            origin_of(target),
            verify if isinstance(verify, ssl.SSLContext) else None,
            reader,
        )

    def start(
        self,
        body: bytes,
        request_id: str,
        receiver: Receiver,
        on_handle: Callable[[Handle], bool],
    ) -> None:
        """Begin; events follow on the loop."""
        head = self._head % (request_id.encode(), len(body))
        if self._sign is not None:
            head = self._signed(head, request_id, body)
        self._pool.start(head + body, receiver, on_handle)

    def _signed(self, head: bytes, request_id: str, body: bytes) -> bytes:
        assert self._sign is not None
        headers = (*self._fixed, ("x-request-id", request_id))
        made = self._sign(Outgoing("POST", self._url, headers, body, wall_ns()))
        lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in made)
        return head[:-2] + lines + b"\r\n"

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def facts(self) -> dict[str, object]:
        """What the manifest says of it."""
        return {
            "transport": "tailproof",
            "connections_opened": self._pool.opened,
            "connections_held_back": self._pool.idle.held_back,
            "stamps": "kernel" if self._pool.kernel_stamps else "user",
        }


def make_sender(target: Target, reader: StampedReader) -> Sender:
    """The sender that the target asks for. Raises UserError where it cannot be had."""
    if target.transport == "httpx":
        return StockSender(target)
    refuse_proxy(target)
    return StampedSender(target, reader)


def refuse_proxy(target: Target) -> None:
    """Raises UserError where requests would have to go through a proxy, which stamped sockets do
    not use.
    """
    origin = origin_of(target)
    proxies = getproxies()
    proxied = proxies.get("https" if origin.tls else "http") or proxies.get("all")
    if (
        proxied
        and origin.unix_path is None
        and origin.host not in LOOPBACK
        and not proxy_bypass(origin.host)
    ):
        raise UserError(
            "the environment names an outgoing proxy, which the stamped transport does not use",
            where=target.title,
            remedy='unset it, or set transport = "httpx"',
        )


#: Nobody was spoken to, or somebody who speaks no HTTP: requests would fare no better. A route that
#: is not under test decides nothing else: some proxies serve POST alone.
_NOT_REACHED = {
    Outcome.refused,
    Outcome.dns,
    Outcome.tls,
    Outcome.timeout_connect,
    Outcome.malformed,
}
#: Of a server's models this many are named.
_FEW_MODELS = 5


async def check_ready(target: Target) -> str | None:
    """One GET: any HTTP answer means ready. Returns a warning worth printing, or None: a key that
    is refused, a model that the server does not list.

    Raises TargetUnreachable with what to check when nothing answers.
    """
    if not target.ready_check:
        return None
    request = empty_request("GET", target.ready_url, target)
    if (sign := request_signer(target)) is not None:
        headers = signed_headers(request.headers)
        request.headers.update(sign(Outgoing("GET", str(request.url), headers, b"", wall_ns())))
    # As it is written: what stands behind `${ENV}` is not for the screen.
    url = target.shown_ready_url
    try:
        async with client_of(
            target, httpx.Timeout(min(target.connect_timeout, target.timeout) / S)
        ) as client:
            response = await client.send(request)
    except (httpx.HTTPError, OSError, UnicodeError) as error:
        outcome, note = classify_httpx(error)
        note = Redaction(secrets_of(target)).clean(note)
        if outcome not in _NOT_REACHED:
            return (
                f"{target.title}: {url} does not answer ({outcome.name}: {note}); the run"
                " goes on, since the server was reached"
            )
        hints = {
            Outcome.refused: "check that the server runs and the port is right",
            Outcome.dns: "check the host name",
            Outcome.tls: "check the certificate, or name its CA in ca_file",
            Outcome.timeout_connect: "check address, firewall and proxy",
        }
        raise TargetUnreachable(
            f"{url} does not answer ({outcome.name}: {note})",
            where=target.title,
            remedy=hints.get(outcome, "check base_url, or leave the check out: --no-ready-check"),
        ) from None
    if response.status_code in (401, 403):
        usual = KEY_SOURCES[0] if sign is None else "the keys and region that sign"
        source = next((name for name in KEY_SOURCES if getattr(target, name)), usual)
        return (
            f"{target.title}: {url} answers {response.status_code}; check {source}, auth"
            " and headers"
        )
    listed: list[str] = []
    if response.is_success:
        listed = target.spoken.listed_models(response.content, target.address)
    if listed and target.model not in listed:
        few = ", ".join(listed[:_FEW_MODELS]) + (", …" if len(listed) > _FEW_MODELS else "")
        return f"{target.title}: {url} does not list the model {target.model!r}; it has {few}"
    return None
