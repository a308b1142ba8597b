"""A server's graceful goodbye over HTTP/2, which costs no answer.

In: the name of httpx's core. Out: nothing; its HTTP/2 connections heed a goodbye from then on.
Must stay true: what was asked up to the goodbye's last stream is answered on its connection; what
came too late for it was not begun (RFC 9113, 6.8), fails as `NotBegun` and may be sent again; no
other request is put on that connection. A goodbye with an error stays one.

Stock httpcore gives up every answer under way at the first goodbye, and h2 refuses the frames that
follow it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import NoAvailableStreamIDError
from hyperframe.frame import RstStreamFrame

from bench.load.transport.interface import NotBegun

if TYPE_CHECKING:
    from h2.events import Event
    from hyperframe.frame import Frame, GoAwayFrame


class LeavingConnection(H2Connection):
    """h2's state of a connection, which goes on after a graceful goodbye."""

    def __init__(self, like: H2Connection):
        super().__init__(config=like.config)
        self.leaving = False
        #: requests that came too late for a number
        self.turned_away = 0
        #: streams that the server says it has not begun.
        self.refused: set[int] = set()

    def get_next_available_stream_id(self) -> int:
        """The next stream's number; none once the server leaves."""
        if self.leaving:
            self.turned_away += 1
            raise NoAvailableStreamIDError("the server leaves")
        return super().get_next_available_stream_id()

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        self.leaving = True
        frames: list[Frame] = []
        events: list[Event] = []
        for number, stream in list(self.streams.items()):
            if number > frame.last_stream_id and stream.open:
                refusal = RstStreamFrame(number, error_code=ErrorCodes.REFUSED_STREAM)
                more_frames, more_events = self._receive_rst_stream_frame(refusal)
                frames += more_frames
                events += more_events
        return frames, events

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code == ErrorCodes.REFUSED_STREAM:
            self.refused.add(frame.stream_id)
        return super()._receive_rst_stream_frame(frame)


def heed_goodbyes(core_name: str) -> None:
    """Give httpx's core (`httpcore`, `httpcore2`) connections that heed them."""
    http2: Any = importlib.import_module(f"{core_name}._async.http2")
    if http2.AsyncHTTP2Connection.__module__ != __name__:
        core = importlib.import_module(core_name)
        http2.AsyncHTTP2Connection = _heeding(
            http2.AsyncHTTP2Connection,
            core.ConnectionNotAvailable,
            core.RemoteProtocolError,
            # httpcore2 gives back the place of a request that goes elsewhere.
            keeps_places=core_name == "httpcore",
        )


def _heeding(
    base: Any, not_available: type[Exception], remote_error: Any, *, keeps_places: bool
) -> type:
    class RefusedStream(NotBegun, remote_error):  # type: ignore[misc]
        """As the core names what the other side did."""

    class Connection(base):  # type: ignore[misc]
        def __init__(self, *args: object, **kwargs: object):
            super().__init__(*args, **kwargs)
            self._h2_state: LeavingConnection = LeavingConnection(self._h2_state)

        async def handle_async_request(self, request: object) -> object:
            try:
                return await super().handle_async_request(request)
            except not_available:
                if keeps_places and self._h2_state.turned_away:
                    # Others wait for this place, to learn that there is none.
                    self._h2_state.turned_away -= 1
                    await self._max_streams_semaphore.release()
                raise
            except Exception as error:
                about = error.args[0] if error.args else None
                if getattr(about, "stream_id", None) in self._h2_state.refused:
                    raise RefusedStream("HTTP/2: the server did not begin this request") from error
                raise

        def is_available(self) -> bool:
            return bool(super().is_available()) and not self._h2_state.leaving

        def has_expired(self) -> bool:
            # The pool closes it then.
            done = self._h2_state.leaving and not self._events
            return done or bool(super().has_expired())

    Connection.__module__ = __name__
    return Connection
