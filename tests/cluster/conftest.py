"""Two Ray nodes of a core each for the whole session; skipped, with the reason, where Ray is not
installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cluster import Keeper
from benchmarks.ray_nodes import RayNode, two_nodes


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RayNode, list[RayNode]]]:
    """(the head `near` in `eu`, a list that holds `far` in `us`)."""
    pytest.importorskip("ray", reason="make test-cluster installs Ray")
    # Ray's sockets lie there, and their paths have a length.
    with two_nodes(Path(tmp_path_factory.mktemp("r"))) as started:
        yield started


@pytest.fixture
def cluster(nodes: tuple[RayNode, list[RayNode]]) -> str:
    """Its address, both nodes alive."""
    head, others = nodes
    if not others[0].processes():
        others[0] = RayNode("far", "us", head.address, place=head.place)
    return head.address


@pytest.fixture
def provider() -> Iterator[Keeper]:
    """A server that writes down what it was asked, by the whole id of each request."""
    server = Keeper()
    yield server
    server.shutdown()
    server.server_close()
