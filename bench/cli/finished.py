"""Commands on finished runs: `merge`, `compare`, `attribute`, `verify` and `sign`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.flags import filing_flags, filing_of, ready_to_file, takes
from bench.cli.help import command
from bench.cli.output import (
    format_option,
    print_json,
    print_lines,
    print_result,
    print_runs,
    print_screen,
)

if TYPE_CHECKING:
    from bench.judge.compare.arms import Arm
    from bench.judge.compare.tier_price import Fee
    from bench.judge.verify import Verified
    from bench.record.records.comparisons import Comparison, Comparisons
    from bench.record.run_folder import Run

#: The keys of a fee, as flags.
_FEE_FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in ("yearly_usd", "monthly_usd", "requests_per_month")
}
_GATE = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, kw_only=True)
class CompareFlags:
    """The flags of `compare`."""

    arms: tuple[str, ...]
    metric: str | None
    margin: str | None
    force: bool
    baseline: Path | None
    save_baseline: Path | None
    yearly_usd: str | None
    monthly_usd: str | None
    requests_per_month: int | None
    form: str

    def of_a_pair(self) -> dict[str, Any]:
        """What goes with two named targets alone, by flag."""
        flags = {name: f"--{name}" for name in ("metric", "margin", "force")} | _FEE_FLAGS
        return {flag: getattr(self, name) for name, flag in flags.items()}


@command(short_help="Compare two targets: is the dearer one faster, and is it worth it?")
@click.argument("arms", metavar="RUN[:NAME] [RUN[:NAME]]", nargs=-1, required=True)
@click.option(
    "--metric",
    type=click.Choice(["e2e", "ttft", "ttft_answer"]),
    help="Which latency.  [default: e2e]",
)
@click.option("--margin", help="A gain below this share does not count.  [default: 10%]")
@click.option(
    "--force", is_flag=True, help="Compare although machine, load profile or clock differ."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Compare RUN with this stored baseline: exit 1 if it is worse by more than the margin.",
)
@click.option(
    "--save-baseline",
    type=click.Path(path_type=Path),
    help="Store the (last) RUN[:NAME] as a baseline.",
)
@click.option("--yearly-usd", metavar="USD", help="What the second target costs a year on top.")
@click.option("--monthly-usd", metavar="USD", help="What it costs a month on top.")
@click.option(
    "--requests-per-month",
    type=click.IntRange(min=1),
    help="Requests that this fee is spread over.",
)
@format_option()
@takes(CompareFlags)
def compare(flags: CompareFlags) -> int:
    """Compare the second target with the first, the baseline.

    NAME is the target's name in the report.

    \b
    compare RUN                    the comparisons that the run's suite asked for
    compare RUN:standard RUN:pro   two targets of one run
    compare OLD:pro NEW:pro        the same target in two runs
    compare NEW:pro --baseline F   with a stored baseline: exit 1 if worse by more
                                   than the margin, 3 if that is not decided
    """
    from bench.errors import UserError
    from bench.judge.compare.arms import load_baseline
    from bench.judge.compare.arms import save_baseline as save
    from bench.judge.compare.compared import compare_pair
    from bench.show.document import Code, Text

    arms, form = flags.arms, flags.form
    if len(arms) > 2 or (len(arms) == 2 and flags.baseline is not None):
        raise UserError(
            "takes two targets", where="compare", remedy="name the baseline, then the other"
        )
    if len(arms) == 1 and flags.baseline is None and flags.save_baseline is None:
        return _suite_comparisons(arms[0], form, flags.of_a_pair())
    stored = load_baseline(flags.baseline) if flags.baseline is not None else None
    if stored is not None and flags.metric not in (None, stored.metric):
        raise UserError(
            f"the baseline holds {stored.metric}", where="--metric", remedy="leave --metric out"
        )
    found = [_arm(name, flags.metric or (stored.metric if stored else "e2e")) for name in arms]
    if flags.save_baseline is not None:
        save(found[-1][0], flags.save_baseline)
        if len(found) == 1 and stored is None:
            if form == "json":
                print_json({"format": 1, "baseline": str(flags.save_baseline)})
            else:
                print_screen([Code(str(flags.save_baseline), "stored")])
            return 0
    first, second = (stored, found[0][0]) if stored is not None else (found[0][0], found[1][0])
    runs = [] if stored is not None else [each[1] for each in found]
    record = compare_pair(
        first, second, runs, margin=flags.margin, force=flags.force, fee=_fee(flags)
    )
    _print([record], form, [] if stored else [arm.partition(":")[0] for arm in arms])
    if stored is None:
        return 0
    gate = record.regression
    if form == "text":
        print_screen([Text(f"{gate.headline}: {gate.reason}", "gate")])
    return _GATE[gate.headline]


def _fee(flags: CompareFlags) -> Fee:
    """What the flags say of the second target's price. Raises UserError."""
    from bench.judge.compare.compared import fee_of
    from bench.plan.interleave import FeeTerms
    from bench.userfile import parse_model

    terms = {name: getattr(flags, name) for name in _FEE_FLAGS}
    return fee_of(parse_model(FeeTerms, terms, ", ".join(_FEE_FLAGS.values()), _FEE_FLAGS))


def _suite_comparisons(folder: str, form: str, flags: dict[str, Any]) -> int:
    from bench.errors import UserError
    from bench.judge.compare.compared import compare_run
    from bench.record.run_folder import Run

    for flag, value in flags.items():
        if value:
            raise UserError(
                "goes with two named targets; those that a suite compares have its own settings",
                where=flag,
            )
    run = Run(Path(folder))
    made = compare_run(run)
    if made is None:
        names = [lane.name for lane in run.lanes]
        raise UserError(
            "the run's suite asks for no comparison",
            where=folder,
            remedy=f"name two targets: {folder}:{names[0]} {folder}:{names[-1]}",
        )
    _print(made.comparisons, form, [folder], made)
    return 0


def _arm(text: str, metric: str) -> tuple[Arm, Run]:
    """The arm and the run that `RUN[:NAME]` means.

    Raises UserError naming the targets there are.
    """
    from bench.cli.flags import picked
    from bench.judge.compare.compared import named_arm

    run, name = picked(text)
    return named_arm(run, name, metric), run


def _print(
    records: list[Comparison], form: str, folders: list[str], made: Comparisons | None = None
) -> None:
    if form == "json":
        print_json((made or records[0]).to_json())
        return
    from bench.show.compared_screen import compared_result

    print_result(compared_result(records, made.expects if made else [], folders))


@command(short_help="Say what the slow requests of a run have in common.")
@click.argument("which", metavar="RUN[:NAME]")
@click.option(
    "--limit",
    help=(
        "Latency from which a request is slow, such as 800ms.  [default: the contract's; p99"
        " without one]"
    ),
)
@format_option()
def attribute(which: str, limit: str | None, form: str) -> int:
    """Compare the slow requests of RUN, a folder below results/, with the others.

    For each level of each factor (context size, phase, new connection, cold start, region ...) the
    share of the tail that is associated with it, with its interval; then where their time went. The
    tail is what exceeds the contract's limit, or the slowest 1 % where fewer than 30 requests do.
    """
    from bench.cli.flags import picked
    from bench.errors import UserError
    from bench.judge.attribution.attribute import attribute_run
    from bench.show.attribution import attribution_result
    from bench.units import parse_duration_ns

    run, name = picked(which)
    try:
        limit_ns = None if limit is None else parse_duration_ns(limit)
    except ValueError as error:
        raise UserError(str(error), where="--limit") from None
    record = attribute_run(run, limit_ns, name)
    if form == "json":
        print_json(record.to_json())
        return 0
    print_result(attribution_result(record.targets, which.partition(":")[0]))
    return 0


_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@command(short_help="Check a run's files and recompute its verdicts.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option(
    "--public-key", type=_FILE, help="PEM file: check that run.json.sig is its owner's signature."
)
@format_option()
def verify(folder: Path, public_key: Path | None, form: str) -> int:
    """Recompute every verdict of RUN from its samples and check the digests of its files.

    Nothing is written. Exit 0: all as it was; 1: something differs, by file and key; 2: no run's
    folder.
    """
    from bench.judge.verify import verify as look

    found = look(folder, public_key)
    _show_verified(found, form)
    return 1 if found.differences else 0


def _show_verified(found: Verified, form: str) -> None:
    from dataclasses import asdict

    from bench.show.facts import verified_result

    if form == "json":
        print_json({"format": 1, **asdict(found)})
    else:
        print_result(verified_result(found))


@command(short_help="Sign the manifest of a finished run.")
@click.argument("folder", metavar="RUN", type=_FOLDER)
@click.option(
    "--key",
    required=True,
    type=_FILE,
    help="PEM file with an Ed25519 private key, readable by you alone.",
)
@format_option()
def sign(folder: Path, key: Path, form: str) -> int:
    """Write run.json.sig, a detached Ed25519 signature of RUN's manifest, which covers all its
    tables by digest.

    Refused for a run without an end, and (exit 1) for one that `tailproof verify` finds changed.
    Needs tailproof[sign].
    """
    from bench.errors import UserError
    from bench.judge.verify import verify as look
    from bench.record.run_folder import read_manifest
    from bench.record.signature import sign_manifest

    if read_manifest(folder).state == "running":
        raise UserError(
            "has not ended, so its manifest does not cover its samples yet",
            where=str(folder),
            remedy="wait for its end, or resume it",
        )
    found = look(folder)
    if found.differences:
        _show_verified(found, form)
        return 1
    written = sign_manifest(folder, key)
    if form == "json":
        print_json({"format": 1, "files": [str(written)]})
    else:
        print_lines([str(written)])
    return 0


#: Of every command that ends a run which was sent from several nodes.
leave_out_option = click.option(
    "--leave-out",
    multiple=True,
    metavar="NODE",
    help="Leave what this node sent out of the verdict; `unfit`: what every node sent that was"
    " itself late, or whose clock was off. Repeatable; the run keeps it.",
)


@command(short_help="Make one run of its shards, and judge it.")
@click.argument(
    "folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The merged run's own folder.",
)
@leave_out_option
@filing_flags
@format_option(github=True)
def merge(
    folders: tuple[Path, ...],
    out: Path,
    leave_out: tuple[str, ...],
    form: str,
    pdf: bool,
    junit_inconclusive: str,
) -> int:
    """Put the folders of `tailproof run --shard I/N` together, judge them as one run and exit as it
    would.

    All must be of one command and seed. The requests of a shard that is not given count as never
    sent.

    \b
    tailproof merge results/shard-* --out results/whole
    """
    from bench.app.conclude import conclude
    from bench.app.merge import merge as merged
    from bench.cli.screen import tell_run
    from bench.judge.left_out import leave_out as leave_nodes_out
    from bench.judge.left_out import refuse_unknown
    from bench.record.facts import places_among
    from bench.record.run_folder import read_manifest

    ready_to_file(pdf=pdf)
    if leave_out:  # refused before anything is written
        shards = [read_manifest(folder).shard for folder in folders]
        refuse_unknown(
            leave_out, places_among([shard for shard in shards if shard]), "these shards"
        )
    folder = merged(folders, out)
    if leave_out:
        leave_nodes_out(folder, leave_out)
    done = conclude(folder, filing_of(pdf, junit_inconclusive))
    if form == "json":
        print_runs([done], done.exit_code)
    else:
        tell_run(done, form)
    return int(done.exit_code)
