"""A target: an endpoint of an API, or a route over several; its model, tier and prices.

In: one TOML file of `profiles/targets`. Out: a frozen `Target`. Must stay true: a key is known by
where it can be had alone, its value never enters a model or a file; what the user's headers and
body say is not printed; what is sent somewhere goes to an endpoint, and `endpoints` names them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlencode, urlsplit

from pydantic import Field, field_validator, model_validator

from bench.api.address import complete_url, refuse_key_in_query
from bench.api.auth import PROOFS, STYLES
from bench.api.interface import Api
from bench.api.registry import DEFAULT, MODULES, api_named, one_of
from bench.api.tier import BY_NAME, TierAsk
from bench.errors import UserError
from bench.plan.limits import Limits
from bench.plan.prices import Prices
from bench.plan.route import Route
from bench.userfile import DurationNs, UserModel, expand_env, find_file, load_model

#: In place of a URL: the simulated provider that tailproof starts itself.
EMBEDDED = "embedded"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: What stands in records and on screens as it is.
_SHOWN = ("name", "model", "tier", "region")
#: Where a key may be had.
KEY_SOURCES = ("api_key_env", "api_key_file", "api_key_command")
#: What a route says for itself; everything else belongs to its legs.
_OF_A_ROUTE = {"description", "name", "tier", "region", "timeout", "route", "legs", "stream"}


def gateway_path(scenario: str) -> str:
    """The path below which the embedded gateway serves a scenario's file."""
    return f"/{Path(scenario).stem}/v1"


class Target(UserModel):
    """Where requests go and how they are written."""

    #: one line for `tailproof profiles` and the report
    description: str
    #: its name in reports; the file's name by default
    name: str = ""
    #: what the endpoint speaks
    api: str = Field(default=DEFAULT, json_schema_extra={"enum": list(MODULES)})
    #: with or without the part that its API ends URLs with (`/chat/completions`), or "embedded" for
    #: the simulated provider
    base_url: str = ""
    #: added to the query of every URL, as in `{ "api-version" = "2024-10-21" }`; `${ENV}` is filled
    #: in
    query: dict[str, str] = Field(default={}, repr=False)
    #: the model to ask for
    model: str = ""
    #: the tier that was bought: each request asks for it as its API wants it, unless model or
    #: deployment say it already; reports and comparisons call it so
    tier: str = ""
    #: the region that was asked for, as reports call it
    region: str = ""
    #: the key: one environment variable, file (the key alone) or command (prints it)
    api_key_env: str | None = None
    #: the file that holds the key alone
    api_key_file: str | None = None
    #: the command that prints the key, as a list of arguments
    api_key_command: tuple[str, ...] = ()
    #: ask the command again after this; by default before the key's own end, where it is a JSON web
    #: token that says it, and whenever a server answers 401
    refresh: DurationNs | None = None
    #: the header that carries the key, "none" for no key; without it as the API has it
    auth: str = Field(default="", json_schema_extra={"enum": list(STYLES)})
    #: further request headers; `${ENV}` is filled in
    headers: dict[str, str] = Field(default={}, repr=False)
    #: further keys of the request's body
    extra_body: dict[str, Any] = Field(default={}, repr=False)
    #: ask for a streamed answer; false: the whole answer at once, so there is no first token, as
    #: with an API that makes no tokens
    stream: bool = True
    #: ask for token counts at the end of a stream (`stream_options.include_usage`)
    include_usage: bool = True
    #: the body's key for the answer's length
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    #: a request that has not ended after this is `timeout_total`
    timeout: DurationNs = 60_000_000_000
    #: a connection that is not open after this is `timeout_connect`
    connect_timeout: DurationNs = 10_000_000_000
    #: tailproof: HTTP/1.1 with kernel stamps; httpx: the stock client, also HTTP/2
    transport: Literal["tailproof", "httpx"] = "tailproof"
    #: before a run ask once whether the server answers, and which models it lists
    ready_check: bool = True
    #: do not verify the server's TLS certificate; the report says so
    insecure: bool = False
    #: PEM file of the authorities to trust instead of the usual ones
    ca_file: str | None = None
    #: for servers that ask for a certificate: PEM files, given together
    client_cert_file: str | None = None
    #: the key of `client_cert_file`
    client_key_file: str | None = None
    #: connect to this socket of the machine; the base URL then only names host and path
    unix_socket: str | None = None
    #: what its tokens cost, for budgets and comparisons
    prices: Prices | None = None
    #: how much its provider takes of your key, to be held against a plan before it is sent
    limits: Limits | None = None
    #: in place of an endpoint of its own: other targets, and how to choose among them
    route: Route | None = None
    #: the route's targets, loaded; not for files
    legs: tuple[Target, ...] = ()

    @field_validator("api")
    @classmethod
    def _known(cls, name: str) -> str:
        api_named(name)
        return name

    @model_validator(mode="before")
    @classmethod
    def _plain_where_nothing_streams(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "stream" in given or given.get("api") not in MODULES:
            return given
        return given if api_named(given["api"]).makes_tokens else {**given, "stream": False}

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.timeout <= 0 or self.connect_timeout <= 0:
            raise ValueError("timeouts must be above zero")
        if self.route is not None:
            if foreign := sorted(self.model_fields_set - _OF_A_ROUTE):
                raise ValueError(
                    f"{foreign[0]} belongs to the targets of a route, not to the route"
                )
            return self
        if not self.base_url:
            raise ValueError("base_url is required; add it, or a [route]")
        refuse_key_in_query(self.query)
        if self.base_url != EMBEDDED and "${" not in self.base_url:
            check_base_url(self.base_url)
            _ = self.shown_request_url  # for its check: another API's path is refused
        _check_headers(self.headers)
        self._check_auth()
        self.spoken.check_extra_body(self.extra_body)
        if self.stream and not self.spoken.makes_tokens:
            raise ValueError(f"{self.api} answers at once, without tokens; leave out stream = true")
        self._check_tier()
        if odd := next((name for name in _SHOWN if not getattr(self, name).isprintable()), None):
            raise ValueError(f"{odd} holds a line break or another character that cannot be shown")
        if not self.model:
            raise ValueError("model is empty; name the model to ask for")
        if (self.client_cert_file is None) != (self.client_key_file is None):
            raise ValueError("client_cert_file and client_key_file go together")
        return self

    def _check_tier(self) -> None:
        try:
            asked = self.tier_ask
        except ValueError as error:
            raise ValueError(f"tier: {error}") from None
        for key, value in asked.body.items():
            if self.extra_body.get(key, value) != value:
                raise ValueError(f"tier and extra_body.{key} ask for different tiers; keep one")

    @property
    def tier_ask(self) -> TierAsk:
        """What each request says to get the tier that was bought."""
        return self.spoken.ask_tier(self.tier, self.base_url) if self.tier else BY_NAME

    def _check_auth(self) -> None:
        """One proof of who sends, from one source."""
        if self.refresh is not None and (self.refresh <= 0 or not self.api_key_command):
            raise ValueError("refresh is a time above zero, and for keys of api_key_command alone")
        sources = [name for name in KEY_SOURCES if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(
                f"{', '.join(KEY_SOURCES[:-1])} and {KEY_SOURCES[-1]} exclude each other"
            )
        if self.auth and self.auth not in STYLES:
            raise ValueError(f"auth: {self.auth!r} is not known; write {one_of(STYLES)}")
        if self.auth == "none":
            if sources:
                raise ValueError(f'auth = "none" sends no key; leave out {sources[0]}, or auth')
            return
        if sources and STYLES[self.auth_style].aws:
            raise ValueError(
                f"{self.auth_style} signs with keys of AWS, and {sources[0]} names another; leave"
                ' it out, or send that one with auth = "bearer"'
            )
        proof = next((name for name in self.headers if name.lower() in PROOFS), None)
        if proof and (given := [*sources, *(["auth"] if self.auth else [])]):
            raise ValueError(
                f"headers.{proof} and {given[0]} both say who sends; keep one of them"
                ' (auth = "none" beside a header of your own)'
            )

    @property
    def auth_style(self) -> str:
        """How its key is sent: a name of `STYLES`. Our own gateway asks nobody for a key."""
        keyed = self.base_url != EMBEDDED or any(getattr(self, name) for name in KEY_SOURCES)
        return self.auth or (self.spoken.auth if keyed else "none")

    @property
    def spoken(self) -> Api:
        """The API that the endpoint speaks."""
        return api_named(self.api)

    @property
    def request_url(self) -> str:
        """The URL that requests are posted to: for the wire, never for a file. Raises ValueError
        for a base URL that ends in another API's path.
        """
        return self._request_url(self.address, self._filled_query)

    @property
    def shown_request_url(self) -> str:
        """The same as it may be shown: `${ENV}` stays."""
        return self._request_url(self.base_url, self.query)

    @property
    def ready_url(self) -> str:
        """The URL of the ready check, as `request_url`."""
        return self._ready_url(self.address, self._filled_query)

    @property
    def shown_ready_url(self) -> str:
        """The same as it may be shown: `${ENV}` stays."""
        return self._ready_url(self.base_url, self.query)

    def _request_url(self, base_url: str, query: dict[str, str]) -> str:
        api, model, stream = self.spoken, self.model, self.stream
        return self._url(base_url, query, lambda base: api.path(base, model, stream))

    def _ready_url(self, base_url: str, query: dict[str, str]) -> str:
        return self._url(base_url, query, lambda base: self.spoken.ready_path(base, self.model))

    def _url(self, base_url: str, query: dict[str, str], rule: Callable[[str], str]) -> str:
        host = urlsplit(base_url).hostname or ""
        asked = f"{base_url.partition('?')[2]}&{urlencode(query)}"

        def complete(path: str) -> str:
            return rule(self.spoken.base_path(path, host, asked, self.model))

        return complete_url(base_url, complete, query)

    @property
    def _filled_query(self) -> dict[str, str]:
        where = f"{self.title}: query"
        return {name: expand_env(value, f"{where}.{name}") for name, value in self.query.items()}

    @property
    def address(self) -> str:
        """The base URL with each `${ENV}` filled in: for the wire, never for a file."""
        return expand_env(self.base_url, f"{self.title}: base_url")

    @property
    def title(self) -> str:
        """What a message calls it: the one that flags made is called "target" itself."""
        return self.name if self.name == "target" else f"target {self.name}"

    @property
    def embedded(self) -> bool:
        """True when tailproof's own gateway serves this target, or a leg of it."""
        return any(target.base_url == EMBEDDED for target in self.endpoints)

    @property
    def endpoints(self) -> tuple[Target, ...]:
        """What requests are sent to: the legs of a route, else the target itself."""
        return self.legs or (self,)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names of the endpoints whose TLS certificate nobody verifies, as `insecure` says."""
        return tuple(
            each.name
            for each in self.endpoints
            if each.insecure and not each.base_url.startswith("http://")
        )

    def served_at(self, url: str) -> Target:
        """The same with tailproof's own gateway at `url`."""
        if self.legs:
            return self.model_copy(update={"legs": tuple(leg.served_at(url) for leg in self.legs)})
        if self.embedded:
            return self.model_copy(update={"base_url": url, "auth": self.auth_style})
        return self


def _check_headers(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if any(c in name + value for c in "\r\n\0"):
            raise ValueError(f"header {name!r} holds a line break")
        if not _HEADER_NAME.fullmatch(name) or not (name + value).isascii():
            raise ValueError(
                f"header {name!r} is not one that HTTP can carry; names are letters, digits and -,"
                " values ASCII"
            )


def check_base_url(url: str, written: str | None = None) -> None:
    """Raises ValueError unless `url` is an http(s) URL with a host and without credentials.

    `written`: as it stands in the user's file or flag, where `url` has `${ENV}` filled in: then no
    message repeats `url`.
    """
    shown = url if written is None else written
    refuse_key_in_query(url.partition("?")[2])
    if not url.isprintable() or " " in url:
        raise ValueError(
            f"{shown!r} holds a space, a line break or another character that a URL cannot have"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its check: urlsplit looks at a port only when asked
    except ValueError as error:
        raise ValueError(
            f"{shown!r} is not a URL" + (f": {error}" if shown == url else "")
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f'{shown!r} is not a base URL; write "https://api.example.com/v1"')
    if parts.username or parts.password:
        raise ValueError(
            "the URL holds credentials; name an environment variable in api_key_env instead"
        )
    if parts.fragment:
        raise ValueError("a base URL has no fragment; leave out what follows #")


def load_target(name: str, beside: Path | None = None) -> Target:
    """A target by built-in name or path, its URL checked with each `${ENV}` filled in, a route with
    its legs.
    """
    path = find_file("targets", name, beside)
    target = load_model(Target, path)
    target = target.model_copy(update={"name": target.name or path.stem})
    if "legs" in target.model_fields_set:
        raise UserError(
            "unknown key",
            where=f"{path}: legs",
            remedy="a route names its targets in route.legs",
        )
    if target.route is not None:
        legs = _told_apart([_load_leg(leg, path) for leg in target.route.legs])
        # What counts as streamed is what every leg streams.
        return target.model_copy(update={"legs": legs, "stream": all(leg.stream for leg in legs)})
    return checked(target, f"{path}: base_url")


def checked(target: Target, where: str) -> Target:
    """The same, its URL checked with each `${ENV}` filled in. Raises UserError about `where`."""
    url = expand_env(target.base_url, where)
    if url != EMBEDDED:
        try:
            check_base_url(url, target.base_url)
            _ = target.request_url
        except ValueError as error:
            raise UserError(str(error), where=where) from None
    return target


def _load_leg(name: str, route: Path) -> Target:
    where = f"{route}: route.legs"
    try:
        path = find_file("targets", name, route.parent)
    except UserError as error:
        raise UserError(error.message, where=where, remedy=error.remedy) from None
    if path.resolve() == route.resolve():
        raise UserError(f"{name!r} is the route itself", where=where, remedy="name other targets")
    if load_model(Target, path).route is not None:
        raise UserError(
            f"{name!r} is a route; routes do not nest",
            where=where,
            remedy="name the targets it leads to",
        )
    return load_target(name, route.parent)


def _told_apart(legs: list[Target]) -> tuple[Target, ...]:
    """Legs of one name (a hedge to the same target again) are `name`, `name#2`, ..."""
    times = [
        sum(leg.name == before.name for before in legs[:number]) for number, leg in enumerate(legs)
    ]
    return tuple(
        leg.model_copy(update={"name": f"{leg.name}#{again + 1}"}) if again else leg
        for leg, again in zip(legs, times, strict=True)
    )


def target_files(name: str, beside: Path | None = None) -> list[Path]:
    """The file that a target is read from, and those of its legs."""
    path = find_file("targets", name, beside)
    route = load_model(Target, path).route
    return [
        path,
        *(find_file("targets", leg, path.parent) for leg in (route.legs if route else ())),
    ]
