"""A suite: which targets under which profile, in which stages, held to which contract.

In: one TOML file of `profiles/suites` or `profiles/scenarios`. Out: a frozen `Suite` whose
stages carry loaded profiles, targets and contracts. Must stay true: loading touches files
only; every name is resolved before a single request leaves.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.plan.contract import Contract, load_contract
from bench.plan.drill import Drill, check_drills
from bench.plan.interleave import Compare, check_compare
from bench.plan.lesson import Lesson, Taught, lesson
from bench.plan.month import Month, load_month_at
from bench.plan.profile import Profile, load_profile, override_profile, stretched
from bench.plan.route import RouteExpect, check_route_expects
from bench.plan.target import Target, load_target, target_files
from bench.userfile import (
    DurationNs,
    PerSecond,
    UserModel,
    builtin_names,
    builtin_root,
    find_file,
    load_model,
    naming,
    parse_model,
    read_toml,
)

#: What is not a suite, and where it is named instead.
_OTHER_KINDS = {
    "load": ("load profile", "--profile"),
    "targets": ("target", "the targets of a suite"),
    "contracts": ("contract", "--contract"),
}
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Expect(UserModel):
    """An expected answer (a rehearsal): this clause must get this verdict."""

    #: the target whose verdict is expected
    target: str
    #: the clause as its contract's number (from 1) or a part of its text, e.g. "e2e p99"
    clause: str
    #: the expected verdict
    verdict: Verdict


class StageFile(Taught):
    """One stage as written: names, and the few numbers a suite may change in a profile."""

    #: its name in reports and on the command line
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
    #: targets by built-in name or path; they run side by side
    targets: Annotated[list[str], Field(min_length=1)]
    #: load profile by built-in name or path
    profile: str
    #: contract by built-in name or path; without one nothing is judged
    contract: str | None = None
    #: what the simulator plays; a scenario file's own name by default
    scenario: str | None = None
    #: in place of the profile's rate
    rate: PerSecond | None = None
    #: in place of the profile's duration
    duration: DurationNs | None = None
    #: in place of the profile's number of requests
    requests: Annotated[int, Field(gt=0)] | None = None
    #: in place of the profile's cap
    max_in_flight: Annotated[int, Field(gt=0)] | None = None
    #: pause after the last arrival, for answers to come in before the next stage begins
    settle: DurationNs = 1_000_000_000
    #: targets of this stage that are compared; their requests alternate
    compare: list[Compare] = []
    #: verdicts that are expected (a rehearsal)
    expect: list[Expect] = []
    #: answers about a route that are expected (a rehearsal)
    expect_route: list[RouteExpect] = []
    #: what is done to the provider during the stage
    drill: list[Drill] = []


class SuiteFile(UserModel):
    """A suite file: stages of its own, or a list of scenarios to play one after another."""

    #: one line for `tailproof profiles` and the report
    description: str
    #: all draws follow from it; `--seed` replaces it
    seed: Annotated[int, Field(ge=0)] = 1
    #: the stages, played one after another
    stage: list[StageFile] = []
    #: scenarios to play one after another, by built-in name or path, in place of stages
    scenarios: list[str] = []

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.stage) == bool(self.scenarios):
            raise ValueError(
                "is not a suite: it needs [[stage]] tables or a list of scenarios, one of the two"
            )
        return self


class ScenarioFile(UserModel):
    """A scenario file. `gateway` and `truth` belong to the gateway, which reads them itself."""

    #: one line for `tailproof profiles` and the report
    description: str
    #: all draws follow from it; `--seed` replaces it
    seed: Annotated[int, Field(ge=0)] = 1
    #: what the simulated provider does: docs/gateway.md
    gateway: dict[str, Any]
    #: what must come out, in words and numbers: docs/gateway.md
    truth: dict[str, Any] = {}
    #: the stages, as in a suite
    stage: Annotated[list[StageFile], Field(min_length=1)]


class Stage(Taught):
    """A stage with everything loaded; its targets run side by side."""

    name: str
    targets: list[Target]
    profile: Profile
    contract: Contract | None
    scenario: str | None
    settle_ns: int
    expect: list[Expect]
    compare: list[Compare] = []
    expect_route: list[RouteExpect] = []
    drills: list[Drill] = []
    #: computed by the simulator, on a time axis of its own
    simulated: bool = False

    def contract_of(self, target: Target) -> Contract | None:
        """The contract with its limits for the target's model. Raises UserError."""
        return held_by(self.contract, target)


class Suite(UserModel):
    """What one run will do. `files` are the inputs whose digests the manifest keeps.

    `months` are scenarios without a stage: a whole period's log, judged by census.
    """

    name: str
    description: str
    seed: int
    stages: list[Stage]
    files: list[Path]
    months: list[tuple[Month, Path]] = []
    lessons: list[Lesson] = []

    def stretched(self, times: Fraction) -> Suite:
        """The suite with every stage going on for `times` its length. Raises UserError."""
        stages = [
            stage.model_copy(
                update={"profile": stretched(stage.profile, times, f"stage {stage.name!r}")}
            )
            for stage in self.stages
        ]
        return self.model_copy(update={"stages": stages})

    def over_http(self) -> Suite:
        """The suite with nothing left to the simulator."""
        return self.model_copy(
            update={
                "stages": [stage.model_copy(update={"simulated": False}) for stage in self.stages]
            }
        )


def load_suite(name: str) -> Suite:
    """A suite, or a scenario as a suite of one, by built-in name or path."""
    for folder, (kind, place) in _OTHER_KINDS.items():
        if name in builtin_names(folder) and name not in {
            *builtin_names("suites"),
            *builtin_names("scenarios"),
        }:
            raise UserError(
                f"{name!r} is not a suite but a {kind}", remedy=f"name it with {place} instead"
            )
    path = find_file("suites", name, None, "scenarios")
    data = read_toml(path)
    months: list[tuple[Month, Path]] = []
    if (month := load_month_at(path, data)) is not None:
        stages = list[Stage]()
        files = list[Path]()
        months = [(month, path)]
        description = str(data["description"])
        seed = 1
    elif "gateway" in data:
        scenario = parse_model(ScenarioFile, data, str(path))
        stages, files = _scenario_stages(scenario, path)
        description, seed = scenario.description, scenario.seed
    else:
        _refuse_other_kind(data, path)
        suite = parse_model(SuiteFile, data, str(path))
        stages, files, months = _suite_stages(suite, path)
        description, seed = suite.description, suite.seed
    # what is played over HTTP comes first, in its order
    stages.sort(key=lambda stage: stage.simulated)
    names = [stage.name for stage in stages]
    for stage_name in names:
        if names.count(stage_name) > 1:
            raise UserError(
                f"two stages are named {stage_name!r}", where=str(path), remedy="rename one"
            )
    return Suite(
        name=path.stem,
        description=description,
        seed=seed,
        stages=stages,
        months=months,
        lessons=[lesson(each.name, each) for each in stages]
        + [lesson(file.stem, month) for month, file in months],
        files=list(dict.fromkeys([path, *files])),
    )


def _refuse_other_kind(data: dict[str, Any], path: Path) -> None:
    """Raises UserError when the file is plainly one of the other kinds."""
    for key, folder in (("arrivals", "load"), ("base_url", "targets"), ("clause", "contracts")):
        kind, place = _OTHER_KINDS[folder]
        if key in data and not {"stage", "scenarios"} & set(data):
            raise UserError(
                f"is not a suite but a {kind}",
                where=str(path),
                remedy=f"name it with {place} instead",
            )


def _suite_stages(
    suite: SuiteFile, path: Path
) -> tuple[list[Stage], list[Path], list[tuple[Month, Path]]]:
    stages: list[Stage] = []
    files: list[Path] = []
    months: list[tuple[Month, Path]] = []
    for stage in suite.stage:
        loaded, used = _load_stage(stage, path, None)
        stages.append(loaded)
        files += used
    for reference in suite.scenarios:
        with naming(f"{path}: scenarios"):
            scenario_path = find_file("scenarios", reference, path.parent)
        if (month := load_month_at(scenario_path, read_toml(scenario_path))) is not None:
            months.append((month, scenario_path))
            files.append(scenario_path)
            continue
        more, used = _scenario_stages(load_model(ScenarioFile, scenario_path), scenario_path)
        stages += more
        files += [scenario_path, *used]
    return stages, files, months


def _scenario_stages(scenario: ScenarioFile, path: Path) -> tuple[list[Stage], list[Path]]:
    stages, files = [], []
    simulated = scenario.gateway.get("simulated", False)
    if not isinstance(simulated, bool):
        raise UserError(
            f"gateway.simulated: {str(simulated)[:60]!r} is neither true nor false", where=str(path)
        )
    for stage in scenario.stage:
        loaded, used = _load_stage(stage, path, path)
        stages.append(loaded.model_copy(update={"simulated": simulated}))
        files += used
    return stages, files


def _load_stage(
    stage: StageFile, path: Path, own_scenario: Path | None
) -> tuple[Stage, list[Path]]:
    """The stage with everything loaded, and the files it came from."""
    beside, where = path.parent, f"{path}: stage {stage.name!r}"
    with naming(where):
        scenario = own_scenario
        if stage.scenario:
            scenario = find_file("scenarios", stage.scenario, beside)
        profile = override_profile(
            load_profile(stage.profile, beside),
            where,
            rate=stage.rate,
            duration_ns=stage.duration,
            requests=stage.requests,
            max_in_flight=stage.max_in_flight,
        )
        targets = _stage_targets(stage, profile, scenario, beside, where)
        contract = load_contract(stage.contract, beside) if stage.contract else None
        for expect in stage.expect:
            _check_expect(expect, targets, contract)
        cuts = sum(drill.do == "cut" for drill in stage.drill)
        check_route_expects(stage.expect_route, [target.name for target in targets], cuts, where)
        embedded = any(target.embedded for target in targets)
        check_drills(stage.drill, where, embedded=embedded)
        files = _files_of(stage, scenario, beside)
        if profile.prompts is not None:
            files.append(Path(profile.prompts))
    loaded = Stage(
        name=stage.name,
        targets=targets,
        profile=profile,
        contract=contract,
        scenario=_name_for_gateway(scenario),
        settle_ns=stage.settle,
        lesson=stage.lesson,
        planted=stage.planted,
        expect=stage.expect,
        compare=stage.compare,
        expect_route=stage.expect_route,
        drills=stage.drill,
    )
    return loaded, files


def _files_of(stage: StageFile, scenario: Path | None, beside: Path) -> list[Path]:
    """The files that the stage names."""
    files = [find_file("load", stage.profile, beside)]
    for name in stage.targets:
        files += target_files(name, beside)
    if stage.contract:
        files.append(find_file("contracts", stage.contract, beside))
    if stage.scenario and scenario is not None:
        files.append(scenario)
    return files


def _stage_targets(
    stage: StageFile, profile: Profile, scenario: Path | None, beside: Path, where: str
) -> list[Target]:
    """The stage's targets, and those of its A/A checks: the same target once more."""
    targets = [load_target(name, beside) for name in stage.targets]
    if len({target.name for target in targets}) < len(targets):
        raise UserError("names a target twice", remedy="list each target once a stage")
    if any(target.embedded for target in targets) and scenario is None:
        raise UserError(
            "an embedded target needs a scenario to play",
            remedy='add scenario = "..." or a base_url to the target',
        )
    check_compare(stage.compare, [target.name for target in targets], profile, where)
    for table in stage.compare:
        for lane, name in zip(table.lanes, table.arms, strict=True):
            if lane != name:  # an A/A check has connections of its own
                again = next(target for target in targets if target.name == name)
                targets.append(again.model_copy(update={"name": lane}))
    return targets


def _name_for_gateway(scenario: Path | None) -> str | None:
    """The gateway knows the built-in scenarios by name and all others by path."""
    if scenario is None:
        return None
    built_in = scenario.resolve().parent == (builtin_root() / "scenarios").resolve()
    return scenario.stem if built_in else str(scenario)


def _check_expect(expect: Expect, targets: list[Target], contract: Contract | None) -> None:
    target = next((target for target in targets if target.name == expect.target), None)
    if target is None:
        raise UserError(f"expect names {expect.target!r}, which is no target of this stage")
    held = held_by(contract, target)
    clauses = held.clauses if held else []
    texts = [clause.text for clause in clauses]
    index = match_clause(expect.clause, texts)
    if index is not None and clauses[index].report_only:
        raise UserError(
            f"expect names clause {expect.clause!r}, which is report_only and gets no verdict",
            remedy="name a clause that is judged",
        )
    if index is None:
        raise UserError(
            f"expect names clause {expect.clause!r}, which matches none or several",
            remedy=f"the contract's clauses: {'; '.join(texts) or 'none'}",
        )


def held_by(contract: Contract | None, target: Target) -> Contract | None:
    """The contract with its limits for what the target asks for. Raises UserError."""
    if contract is None:
        return None
    return contract.for_models([endpoint.model for endpoint in target.endpoints])


def match_clause(wanted: str, texts: list[str]) -> int | None:
    """Index of the one clause that `wanted` (a number from 1, or a part of the text) means."""
    if wanted.isdigit():
        if 1 <= int(wanted) <= len(texts):
            return int(wanted) - 1
        return None
    hits = [index for index, text in enumerate(texts) if wanted in text]
    if len(hits) == 1:
        return hits[0]
    return None
