"""No test speaks to another machine; the tests of several rooms share the listening exchange of
tests/load.

No test fails because a machine was slow to draw an example.

The interpreter tells an audit hook of each connection before it is made. It sees Python's sockets,
which includes the stamped transport on either loop, and not those that uvloop opens by itself, nor
other processes.
"""

from __future__ import annotations

import sys
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support")
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


class LeavesTheMachine(BaseException):
    """No Exception, so that nothing takes it for an outcome of the network's."""


def _refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    address = arguments[1]
    if (
        isinstance(address, tuple)
        and address[0] != "localhost"
        and not ip_address(address[0]).is_loopback
    ):
        raise LeavesTheMachine(f"a test connects to {address}")


sys.addaudithook(_refuse_other_machines)
