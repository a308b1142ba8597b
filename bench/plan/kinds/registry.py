"""Every kind of clause: each module of this folder that holds one.

In: the keys of a clause. Out: its kind. Must stay true: the keys of a clause name exactly one kind.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import bench.plan.kinds
from bench.metrics import METRICS
from bench.plan.clause_keys import ClauseKeys
from bench.plan.kinds.kind import Kind


def _found() -> Iterator[Kind]:
    """A kind is the constant of a module's own name: QUANTILE of quantile.py."""
    for module in pkgutil.iter_modules(bench.plan.kinds.__path__):
        if module.name != "registry":
            holder = importlib.import_module(f"{bench.plan.kinds.__name__}.{module.name}")
            kind = getattr(holder, module.name.upper(), None)
            if isinstance(kind, Kind):
                yield kind


#: In the order of their modules' names.
KINDS: tuple[Kind, ...] = tuple(_found())


def kind_of(keys: ClauseKeys) -> Kind:
    """The kind that the metric, its statistic or its method names."""
    return kind_named(keys.metric, keys.statistic, keys.method)


def kind_named(metric: str, statistic: str, method: str) -> Kind:
    """The kind of a clause with these keys. Raises ValueError where none is named so."""
    names = {"metric": metric, "statistic": statistic, "method": method}
    promise = METRICS[metric].promise if metric in METRICS else None
    for kind in KINDS:
        if promise in kind.promises and names[kind.named_by] == kind.name:
            return kind
    raise ValueError(f"no kind of clause has {names}")


def named_by(key: str) -> tuple[str, ...]:
    """The values of a key that name a kind."""
    return tuple(kind.name for kind in KINDS if kind.named_by == key)
