"""The ui's server: which requests are answered, and what browsers may load.

In: a results folder, an address. Out: HTTP until it is stopped. Must stay true: GET alone, and
nothing is written; only a request that names this server in its Host header is answered, so no page
on the web can read runs by pointing a name of its own here; no page may load anything from
elsewhere; a report, which could be anybody's, runs in a sandbox; files are read on threads, never
on the loop.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.errors import RunFolderError, TailproofError, UserError
from bench.extras.ui.catalogue import Catalogue
from bench.extras.ui.growing import Growing
from bench.extras.ui.pages import Pages
from bench.extras.ui.so_far import standing_texts
from bench.extras.ui.so_far_figures import figures
from bench.show.render_html import STYLE, page_script

PORT = 8765
#: Further ports that are tried where the user named none.
PORTS_TRIED = 20
_EVERY_S = 1.0
_HERE = Path(__file__).parent
_FILES = {
    "report.css": (STYLE, "text/css"),
    "ui.css": (_HERE / "ui.css", "text/css"),
    "watch.js": (_HERE / "watch.js", "text/javascript"),
}
_OURS = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
T = TypeVar("T")


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_be_asked(host_header: str, bound: str) -> bool:
    """Whether a Host header names this server, bound to `bound`: loopback, that host, any number
    where bound to all.

    A foreign name that resolves to this address (DNS rebinding) is none of them.
    """
    try:
        name = urlsplit(f"//{host_header}").hostname or ""
        if name == bound.lower() or is_loopback(name):
            return True
        return ipaddress.ip_address(bound).is_unspecified and bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class Guard:
    """Checks method, Host and origin of each request, and adds the headers of each answer."""

    def __init__(self, app: ASGIApp, bound: str):
        self._app, self._bound = app, bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {"Content-Security-Policy": _OURS, **_HEADERS}.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(scope)
        app = (
            self._app
            if refused is None
            else PlainTextResponse(f"tailproof ui: {refused[1]}\n", refused[0])
        )
        await app(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if not may_be_asked(headers.get("host", ""), self._bound):
            return 421, "this name is not the server's; open the address that it printed"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "nothing can be changed here"
        # another site may link to a page; it may not load one into its own
        if (
            headers.get("sec-fetch-site") in ("cross-site", "same-site")
            and headers.get("sec-fetch-mode") != "navigate"
        ):
            return 403, "another site asked for this"
        return None


def report_policy() -> str:
    """What a report may do: show itself, and run the script that we embed in reports, known by its
    digest.
    """
    return (
        "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        f" script-src 'sha256-{page_script()[1]}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


class _Site:
    """The routes. What reads files runs on threads; what draws or compares, one at a time."""

    def __init__(self, catalogue: Catalogue):
        self._catalogue, self._pages = catalogue, Pages(catalogue)
        self._heavy = anyio.CapacityLimiter(1)

    def app(self, bound: str) -> Starlette:
        """The application for a server bound to this host."""
        routes = [
            Route("/", self.runs),
            Route("/report/{name:path}", self.report),
            Route("/compare", self.compare),
            Route("/trend", self.trend),
            Route("/watch", self.watches),
            Route("/watch/{name:path}", self.watch),
            Route("/events/{name:path}", self.events),
            Route("/static/{file}", self.static),
        ]
        app = Starlette(
            routes=routes,
            middleware=[Middleware(Guard, bound=bound)],
            exception_handlers={TailproofError: self.failed, 404: self.not_found},
        )
        app.router.redirect_slashes = False
        return app

    async def _apart(self, work: Callable[..., T], *values: Any) -> T:
        return await anyio.to_thread.run_sync(partial(work, *values), limiter=self._heavy)

    async def runs(self, request: Request) -> Response:
        return HTMLResponse(await anyio.to_thread.run_sync(self._pages.runs, request.query_params))

    async def report(self, request: Request) -> Response:
        name = request.path_params["name"]
        entry = await anyio.to_thread.run_sync(self._catalogue.entry, name)
        if entry.kind == "run" and entry.state == "running":
            return RedirectResponse(f"/watch/{quote(name)}")
        made = await self._apart(self._pages.report, name)
        return HTMLResponse(made, headers={"Content-Security-Policy": report_policy()})

    async def compare(self, request: Request) -> Response:
        query = request.query_params
        return HTMLResponse(await self._apart(self._pages.compare, query.getlist("run"), query))

    async def trend(self, request: Request) -> Response:
        return HTMLResponse(await self._apart(self._pages.trend, request.query_params))

    async def watches(self, request: Request) -> Response:  # noqa: ARG002 starlette's signature
        return HTMLResponse(await anyio.to_thread.run_sync(self._pages.watches))

    async def watch(self, request: Request) -> Response:
        return HTMLResponse(
            await anyio.to_thread.run_sync(self._pages.watch, request.path_params["name"])
        )

    async def events(self, request: Request) -> Response:
        folder = await anyio.to_thread.run_sync(self._catalogue.folder, request.path_params["name"])
        return StreamingResponse(_standings(folder), media_type="text/event-stream")

    async def static(self, request: Request) -> Response:
        path, kind = _FILES.get(request.path_params["file"], (None, ""))
        if path is None:
            return await self.not_found(request, RunFolderError("is not there"))
        return Response(await anyio.to_thread.run_sync(path.read_bytes), media_type=kind)

    async def failed(self, request: Request, error: Exception) -> Response:  # noqa: ARG002 starlette's signature
        return HTMLResponse(self._pages.message("This cannot be shown", str(error)), 404)

    async def not_found(self, request: Request, error: Exception) -> Response:  # noqa: ARG002 starlette's signature
        return HTMLResponse(
            self._pages.message("There is no such page", "is not a page of this server"), 404
        )


async def _standings(folder: Path) -> AsyncIterator[str]:
    """Server-sent events: `standing` each second, `over` once the run has ended, `failure`
    where it cannot be read.
    """
    try:
        growing = await anyio.to_thread.run_sync(Growing, folder)
        while True:
            standing = await anyio.to_thread.run_sync(growing.now)
            kind = "standing" if standing.state == "running" else "over"
            said = standing_texts(standing) | {"figures": str(figures(standing))}
            yield f"event: {kind}\ndata: {json.dumps(said)}\n\n"
            if kind == "over":
                return
            await anyio.sleep(_EVERY_S)
    except RunFolderError as error:
        yield f"event: failure\ndata: {json.dumps({'failure': str(error)})}\n\n"


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens there; without a port at PORT or the next that is free.

    Raises UserError.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port or 0, type=socket.SOCK_STREAM
        )[0]
    except OSError as error:
        raise UserError(
            f"is no address of this machine ({error.strerror})", where=f"--host {host}"
        ) from None
    for tried in [port] if port is not None else [*range(PORT, PORT + PORTS_TRIED), 0]:
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place[0], tried, *place[2:]))
            listener.listen()
        except OSError as error:
            listener.close()
            reason = error.strerror
            continue
        return listener
    raise UserError(
        f"cannot be listened on ({reason})",
        where=f"{host}:{port}",
        remedy="name another --port, or none for the next free one",
    )


def address_of(listener: socket.socket, host: str) -> str:
    """The URL to open."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"


def serve(results: Path, listener: socket.socket, host: str) -> None:
    """Answer until a signal ends it."""
    catalogue = Catalogue(results)
    # while the user goes to the address: a first look at a thousand runs takes a quarter of a
    # second
    threading.Thread(target=catalogue.entries, daemon=True).start()
    config = uvicorn.Config(
        _Site(catalogue).app(host),
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
