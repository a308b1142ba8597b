"""Tiers: how one is asked for, and what a served one is worth.

In: a target's `tier`; the word by which a vendor names the tier that answered. Out: what a request
has to say to ask for it; a class that can be compared between vendors. Must stay true: the vendor's
word is what is kept; the class is looked up from it, and a word that nobody knows is `unknown`,
never a guess.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.api.auth import Header


class TierClass(enum.StrEnum):
    """What was bought or served, whatever its vendor calls it."""

    #: capacity of one's own: provisioned, reserved, scale
    dedicated = "dedicated"
    #: shared capacity that goes first
    priority = "priority"
    standard = "standard"
    #: shared capacity that goes last, for less
    flex = "flex"
    unknown = "unknown"


class TierAsk(NamedTuple):
    """What a request says to ask for a tier; nothing where model or deployment name says it."""

    body: Mapping[str, Any] = {}
    headers: tuple[Header, ...] = ()


#: Words for what was bought that no answer has.
BOUGHT: Mapping[str, TierClass] = {
    "dedicated": TierClass.dedicated,
    "provisioned": TierClass.dedicated,
    "reserved": TierClass.dedicated,
    "shared": TierClass.standard,
    "standard": TierClass.standard,
    "standard_only": TierClass.standard,
}
#: Dearer than all others of their class, none of which stands for them.
ALONE = frozenset({"ultrafast"})


def plain(word: str) -> str:
    """A tier's word as tables have it: `Provisioned Throughput` is `provisioned_throughput`."""
    return word.strip().lower().replace(" ", "_")


#: For tiers that no request asks for: which one it is follows from the model, deployment or URL.
BY_NAME = TierAsk()
