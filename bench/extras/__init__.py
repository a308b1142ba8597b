"""Rare capabilities, a folder each, that the rest of the package works without.

In: the folders beside this file. Out: what each adds to the command line, from the `EXTRA` that its
`__init__` declares. Must stay true: no module outside a folder imports it by name; a folder that is
deleted takes its commands, flags and formats along and nothing else; a declaration imports no more
than this file does, so that `--help` stays quick.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import NamedTuple


class Extra(NamedTuple):
    """What one folder adds. Modules are named, not imported."""

    #: command, held by the folder's module `command` -> the command of the core that `--help` lists
    #: it after, in its group
    commands: Mapping[str, str] = {}
    #: the module with another way to play a run, and its flags (see `bench.cli.elsewhere`)
    run: str = ""
    #: the module with more formats of `export`, and their flags (see `bench.cli.export`)
    export: str = ""
    #: kind of `schema` -> module and class of the record
    schemas: Mapping[str, tuple[str, str]] = {}


#: (command, word) -> the folder that it needs, so that the command line can name what is missing.
NEEDED_FOR = {
    **{("run", flag): "cluster" for flag in ("--cluster", "--shared", "--leave-out")},
    **{
        ("export", word): "formats"
        for word in (
            *("vllm", "aiperf", "openslo", "prometheus-rules"),
            *("--histogram", "--selector", "--failed", "--days", "--model"),
        )
    },
    ("collect", ""): "cluster",
    ("import-openslo", ""): "formats",
    ("what-if", ""): "what_if",
    ("cost", ""): "cost",
    ("ui", ""): "ui",
    ("schema", "cost"): "cost",
    ("schema", "what-if"): "what_if",
}


@functools.cache
def installed() -> Mapping[str, Extra]:
    """Folder -> what it declares."""
    return {
        found.name: importlib.import_module(f"{__name__}.{found.name}").EXTRA
        for found in pkgutil.iter_modules(__path__)
        if found.ispkg
    }


def modules(part: str) -> Iterator[ModuleType]:
    """The modules that the installed folders declare for `run` or `export`."""
    for extra in installed().values():
        if name := getattr(extra, part):
            yield importlib.import_module(name)


def commands() -> Iterator[tuple[str, str, str]]:
    """(command, the module that holds it, the command it is listed after)."""
    for folder, extra in installed().items():
        for command, after in extra.commands.items():
            yield command, f"{__name__}.{folder}.command", after


def schemas() -> dict[str, tuple[str, str]]:
    """Kind of `schema` -> module and class of the record."""
    return {kind: where for extra in installed().values() for kind, where in extra.schemas.items()}


def missing(arguments: list[str]) -> str | None:
    """A sentence for a command line that asks for a folder which is not here; None for others."""
    command = arguments[0] if arguments else ""
    for word in ("", *arguments[1:]):
        flag = word.partition("=")[0]
        folder = NEEDED_FOR.get((command, flag)) or NEEDED_FOR.get(
            (command, word.rpartition("=")[2])
        )
        if folder is not None and folder not in installed():
            return (
                f"{flag or command}: needs the capability {folder!r}, which is not installed"
                f" (bench/extras/{folder}); pip install --force-reinstall tailproof"
            )
    return None
