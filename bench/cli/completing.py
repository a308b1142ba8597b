"""What the tab key offers for a value: built-in names, run folders, their targets, metrics, tasks.

In: a parameter, what was typed of it. Out: click's items. Must stay true: nothing is read but names
of files, and a manifest where a target of its run is asked for; what cannot be read offers nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

#: What was typed -> what could stand there.
Offer = Callable[[str], Iterable[str]]


def _builtin(*kinds: str) -> Offer:
    def names(_typed: str) -> Iterable[str]:
        from bench.userfile import builtin_names

        return [name for kind in kinds for name in builtin_names(kind)]

    return names


def _metrics(_typed: str) -> Iterable[str]:
    from bench.metrics import METRICS

    return METRICS


def _tasks(_typed: str) -> Iterable[str]:
    from bench.cli.tasks import TASKS

    words = [word for task in TASKS for word in task.name.split()]
    return dict.fromkeys(words)


def _runs(typed: str) -> Iterable[str]:
    """Run folders, the newest first; behind a colon the targets of one."""
    folder, colon, _ = typed.rpartition(":")
    if colon:
        return [f"{folder}:{name}" for name in targets_of(Path(folder))]
    found = sorted(Path("results").glob("*/run.json"), reverse=True)
    return [str(path.parent) for path in found]


def targets_of(folder: Path) -> list[str]:
    """The names that a run's manifest has; none where it cannot be read."""
    try:
        lanes = json.loads((folder / "run.json").read_text("utf-8"))["lanes"]
        return [str(lane["name"]) for lane in lanes]
    except (OSError, ValueError, KeyError, TypeError):
        return []


#: Parameter -> what it takes. Files are offered too where a path may stand.
_OFFERS: dict[str, Offer] = {
    "suite": _builtin("suites", "scenarios"),
    "scenarios": _builtin("scenarios"),
    "profile": _builtin("load"),
    "contract": _builtin("contracts"),
    "target": _builtin("targets"),
    "slo": _metrics,
    "task": _tasks,
    "prompts": lambda _typed: (),
}
_FILES = {"suite", "scenarios", "profile", "contract", "prompts"}


def completer(
    param: click.Parameter,
) -> Callable[[click.Context, str], list[CompletionItem]] | None:
    """What completes a parameter's value; None where its type knows best."""
    name = str(param.name)
    of_runs = isinstance(param, click.Argument) and "RUN" in (param.metavar or "")
    offer = _runs if of_runs else _OFFERS.get(name)
    if name in ("first", "second"):
        return _targets_of_runs
    if offer is None or isinstance(param.type, click.Choice):
        return None
    files = of_runs or name in _FILES

    def complete(_ctx: click.Context, typed: str) -> list[CompletionItem]:
        items = [CompletionItem(text) for text in offer(typed) if text.startswith(typed)]
        if files and not items:
            return [CompletionItem(typed, type="file")]
        return items

    return complete


def _targets_of_runs(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Those of the runs that stand before it on the line."""
    # a flag without its value ends click's parse: what stood before it is left in args
    words = [word for word in ctx.args if not word.startswith("-")]
    names = dict.fromkeys(name for word in words for name in targets_of(Path(str(word))))
    return [CompletionItem(name) for name in names if name.startswith(typed)]
