"""How long a test waits for a process or a thread before it says that it hangs.

Out: seconds. Must stay true: shorter than what pytest gives a test (`timeout` in pyproject.toml, or PYTEST_TIMEOUT), so that
the wait itself is told; longer where a test is given more, as `make coverage` does: no test fails for want of speed.
"""

from __future__ import annotations

import os

#: Times what the limits of pyproject.toml give.
_FACTOR = float(os.environ.get("PYTEST_TIMEOUT", "60")) / 60
#: For a whole command.
PATIENCE_S = 50 * _FACTOR
#: For one step of a conversation, of which a test waits for several.
STEP_S = 20 * _FACTOR
