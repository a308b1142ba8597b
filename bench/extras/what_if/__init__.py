"""`tailproof what-if`: router policies tried on the answers that were measured."""

from bench.extras import Extra

EXTRA = Extra(
    commands={"what-if": "compare"},
    schemas={"what-if": ("bench.extras.what_if.record", "WhatIf")},
)
