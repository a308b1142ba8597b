"""The look at a target before anything is sent: what nobody tests decides nothing."""

from __future__ import annotations

import functools
import socket
import threading

import pytest

from bench.errors import TargetUnreachable
from bench.load.transport.sender import check_ready
from tests.support.heard import on_loop, target_for


@pytest.mark.parametrize("how", ["silent", "closed"])
def test_a_list_of_models_that_is_not_answered_ends_no_run(how: str) -> None:
    """The server was reached; that its other route works, the requests will show."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                if how == "silent":
                    peer.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        made = target_for(url, timeout="200ms")
        said = on_loop("asyncio", functools.partial(check_ready, made))
        thread.join(5)
    assert said is not None
    assert f"{url}/models does not answer" in said
    assert "the run goes on" in said


def test_where_nobody_listens_the_run_is_not_begun() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made = target_for(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(TargetUnreachable, match="check that the server runs"):
        on_loop("asyncio", functools.partial(check_ready, made))
