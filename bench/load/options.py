"""How a plan is played: everything that a command says beside the plan itself.

In: flags, or what a run's folder kept of them. Out: one frozen record, from the command line to the
sockets. Must stay true: a run that is taken up again is played as it was begun; nothing in here
changes what is sent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.errors import RunFolderError, UserError
from bench.load.guard import CAPS, UNCAPPED, Caps
from bench.load.player import OnTick
from bench.load.shard import UNSHARDED, Shard
from bench.plan.prompts import Tokenizer, load_tokenizer
from bench.plan.schedule import Plan
from bench.plan.stored import lacks_literals, load_plan, plan_record, with_literals
from bench.plan.suite import load_suite
from bench.record.digests import sha256
from bench.record.files import json_bytes
from bench.record.run_folder import PLAN_FILE, read_manifest, read_schedule

#: Of plan.json. 1 = first.
PLAN_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is played, and where its record goes."""

    #: the command that plays it again, without secrets
    repeat_command: str = ""
    #: whether it is a whole run, which can be resumed, and not a probe of a search
    alone: bool = True
    #: the run's own folder; None: one named after it, below `results`
    folder: Path | None = None
    results: Path = Path("results")
    #: counts prompts exactly; None: they are estimated
    tokenizer: Tokenizer | None = None
    #: processes that share the schedule; None: as many as the plan needs
    workers: int | None = None
    #: what ends the run before its plan
    caps: Caps = UNCAPPED
    #: refuse a plan of more requests
    max_requests: int | None = None
    #: look at planned moments whether every clause is decided
    early_stop: bool = False
    #: how many times its suite's length the plan has; None: its own
    stretch: Fraction | None = None
    #: which part of the plan is played here, and from when on
    shard: Shard = UNSHARDED
    #: the folder of a run of this plan that broke off: what it left is played there
    resume: Path | None = None

    def record(self) -> dict[str, Any]:
        """As plan.json keeps it: what a later sitting needs."""
        return {
            "alone": self.alone,
            "tokenizer": None if self.tokenizer is None else self.tokenizer.name,
            "workers": self.workers,
            "max_requests": self.max_requests,
            "stretch": None if self.stretch is None else str(self.stretch),
            "caps": CAPS.dump_python(self.caps, mode="json"),
        }

    @classmethod
    def read(cls, found: dict[str, Any]) -> RunOptions:
        """The reverse of `record`."""
        tokenizer = found["tokenizer"]
        return cls(
            alone=found["alone"],
            tokenizer=load_tokenizer(tokenizer) if tokenizer else None,
            workers=found["workers"],
            max_requests=found["max_requests"],
            stretch=Fraction(stretch) if (stretch := found.get("stretch")) else None,
            caps=CAPS.validate_python(found["caps"]),
        )

    def refuse_unless_alone(self, folder: Path, repeat_command: str) -> None:
        """Raises UserError for a probe of a ramp, which a second sitting cannot go on with."""
        if not self.alone:
            raise UserError(
                "was not begun by `tailproof run`",
                where=str(folder),
                remedy=f"run it again: {repeat_command}",
            )


@dataclasses.dataclass(frozen=True)
class Listeners:
    """Who is called while a run lasts. All are called on the loop that sends, so none may wait."""

    #: with a sentence for the user
    warn: Callable[[str], None]
    #: every few ms
    on_tick: OnTick
    #: with the run's folder, before anything is sent
    opened: Callable[[Path], None] = lambda _: None
    #: with the reason, as soon as a rule ends the run before its plan
    ends_early: Callable[[str], None] = lambda _: None
    #: once nothing is under way, for more facts of the harness; this one may wait
    closing: Callable[[], dict[str, Any]] = dict


def plan_file(plan: Plan, options: RunOptions) -> bytes:
    """plan.json: the plan without its table, which is schedule.npy, and how it is played."""
    return json_bytes(
        {"format": PLAN_FORMAT, "plan": plan_record(plan), "options": options.record()}
    )


def read_plan(folder: Path) -> tuple[Plan, RunOptions]:
    """What a run's folder says that it plays, and how, for another sitting.

    Raises as `kept_plan` does, and UserError for a suite that has lost what the plan does not keep.
    """
    found = _plan_json(folder)
    plan = load_plan(found["plan"], read_schedule(folder))
    if lacks_literals(plan):
        plan = with_literals(plan, load_suite(str(plan.suite.files[0])))
    return plan, RunOptions.read(found["options"])


def kept_plan(folder: Path) -> Plan:
    """The plan that a run's folder keeps, without the literals that no file holds.

    Raises RunFolderError for a file that was edited or is of a newer format, UserError for a run
    that kept no plan.
    """
    return load_plan(_plan_json(folder)["plan"], read_schedule(folder))


def _plan_json(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    path = folder / PLAN_FILE
    wrote = manifest.versions.get("tailproof", "another version")
    if manifest.plan_sha256 is None:
        raise UserError(
            f"holds no plan to go on with (it was begun by tailproof {wrote})",
            where=str(folder),
            remedy="resume it with that version, from the folder it was begun in",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path)) from None
    if sha256(data) != manifest.plan_sha256:
        raise RunFolderError("was edited: it is not what the manifest says", where=str(path))
    found: dict[str, Any] = json.loads(data)
    if found["format"] > PLAN_FORMAT:
        raise RunFolderError(
            f"has format {found['format']}; this tailproof reads up to {PLAN_FORMAT}",
            where=str(path),
            remedy=f"open it with tailproof {wrote} or newer",
        )
    return found
