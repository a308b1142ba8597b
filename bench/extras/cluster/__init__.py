"""One run on many machines: a driver, and an agent on each node.

Which engine carries their words is its own door.
"""

from bench.extras import Extra

EXTRA = Extra(commands={"collect": "merge"}, run="bench.extras.cluster.command")
