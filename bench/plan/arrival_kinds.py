"""The kinds of arrivals that a profile may state, and the keys of each.

In: nothing. Out: one table; `arrival_laws` has the law of each. Must stay true: the command line
reads it for `--arrival` and its help, so it imports nothing of weight.
"""

from __future__ import annotations

from typing import Literal

ArrivalKind = Literal["constant", "poisson", "gamma", "on_off", "trace", "recorded", "closed"]
#: The keys that each kind needs; it has no others.
KEYS_OF_ARRIVALS: dict[ArrivalKind, set[str]] = {
    "poisson": {"rate"},
    "constant": {"rate"},
    "gamma": {"rate", "burstiness"},
    "on_off": {"rate", "on", "off"},
    "trace": {"trace"},
    "recorded": {"speed"},
    "closed": {"concurrency"},
}
#: Open loops that nothing but a rate and a burstiness describes: what `--arrival` offers.
ARRIVALS_BY_RATE = [
    kind
    for kind, keys in KEYS_OF_ARRIVALS.items()
    if "rate" in keys and keys <= {"rate", "burstiness"}
]
ARRIVALS_WITH_BURSTINESS = {kind for kind, keys in KEYS_OF_ARRIVALS.items() if "burstiness" in keys}
