"""A server that hangs until this process has no descriptor left."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.record.run_folder import Run
from bench.record.samples import Outcome

LIMIT = 200
#: Started by a process of its own, whose limit is lowered before anything is opened.
_RUN = (
    f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT})); from"
    " bench.cli import main; sys.exit(main())"
)


@contextmanager
def silent_server() -> Iterator[str]:
    """Answers the ready check, takes every further connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                taken.append(peer)
                if len(taken) == 1:
                    peer.recv(1 << 16)
                    peer.sendall(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for peer in taken:
            peer.close()


@pytest.mark.slow("a run in real time that takes every descriptor")
def test_the_record_goes_on_when_connections_have_taken_every_descriptor(tmp_path: Path) -> None:
    """Requests beyond the limit are rows that could not be sent, and every row is sealed: the run
    ends in good order.
    """
    folder = tmp_path / "run"
    with silent_server() as url:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                _RUN,
                "run",
                "--url",
                url,
                "--model",
                "m",
                "--request-rate",
                "300",
                "--request-count",
                "450",
                "--timeout",
                "2s",
                "--isl",
                "10",
                "--osl",
                "4",
                "--quiet",
                "--out",
                str(folder),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "cannot be written" not in done.stderr
    run = Run(folder)
    outcome = run.columns.samples["outcome"]
    assert run.state == "complete"
    assert set(outcome.tolist()) == {Outcome.never_sent, Outcome.timeout_first}
    notes = {
        run.strings("note")[note]
        for note in run.columns.samples["note"][outcome == Outcome.never_sent]
    }
    assert notes == {"out of descriptors (EMFILE)"}
