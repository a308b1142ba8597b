"""`tailproof cost`: what a month costs, by list price or by what a run was billed."""

from bench.extras import Extra

EXTRA = Extra(commands={"cost": "compare"}, schemas={"cost": ("bench.extras.cost.record", "Costs")})
