"""What people come to do, each with the command that does it: `tailproof help TASK`, and the
examples of every command's help.

In: words. Out: tasks, the nearest first. Must stay true: each line is a command that parses; the
page named beside it exists in docs/.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Words of a question that say nothing of its subject.
_FILLERS = "a an and are be can do does how i in is it me my of on or the to what with"
_URL = "--url http://localhost:8000/v1 --model my-model"


@dataclass(frozen=True)
class Task:
    """One thing that somebody wants done."""

    #: as one would ask for it
    name: str
    says: str
    lines: tuple[str, ...]
    #: page of the documentation
    page: str
    #: further words that people use for it
    also: str = ""
    #: what the lines need, or what to do next
    notes: tuple[str, ...] = ()

    @property
    def commands(self) -> frozenset[str]:
        """The commands of its lines."""
        return frozenset(line.split()[1] for line in self.lines)


TASKS = (
    Task(
        "first verdict",
        "Judge a server by one clause, as long as it takes to decide it",
        (f"tailproof run {_URL} --slo 'e2e:p95<800ms' --rate 20",),
        "tutorials/first-verdict.md",
        "start begin getting started quick try own endpoint url server slo latency",
        (
            "Nobody there? In a second terminal: tailproof gateway --scenario premium-placebo",
            "The exit code is the verdict: 0 PASS, 1 FAIL, 3 INCONCLUSIVE.",
        ),
    ),
    Task(
        "look at an endpoint",
        "Find out what a server speaks before anything is measured, and what to write",
        ("tailproof doctor --url http://localhost:8000/v1",),
        "doctor.md",
        "check connection api key auth limits diagnose setup",
    ),
    Task(
        "first files",
        "Have suite, target, load and contract written for an endpoint",
        (
            "tailproof init",
            f"tailproof init my-test {_URL} --slo 'e2e:p95<2s' --rate 5",
        ),
        "doctor.md",
        "init start begin own endpoint write suite template scaffold",
        ("Without a terminal it asks nothing: give --url, --model and --slo.",),
    ),
    Task(
        "rehearse",
        "See nine lessons on the built-in simulator; no server, no key, no cost",
        ("tailproof run field-guide",),
        "gateway.md",
        "demo simulator lessons field guide bench example",
    ),
    Task(
        "use a profile and contract",
        "Send a recorded kind of traffic and hold it to a contract",
        (f"tailproof run {_URL} --profile chat --contract enterprise --api-key-env MY_KEY",),
        "files.md",
        "built-in load agents rag reasoning long context key api",
        (
            "Also: agent, rag, reasoning, code, long-context; aa-1k, aa-10k, aa-100k",
            "What each is: tailproof profiles load",
        ),
    ),
    Task(
        "own requests",
        "Send the requests of your own users, from a file",
        (f"tailproof run {_URL} --prompts requests.jsonl",),
        "own-requests.md",
        "prompts jsonl sharegpt csv batch conversations real traffic dataset",
    ),
    Task(
        "run a suite",
        "Run stages, targets and contracts of your own files",
        ("tailproof run my-suite.toml",),
        "files.md",
        "toml own file stages targets",
        ("For an editor: tailproof schema suite",),
    ),
    Task(
        "cap in flight",
        "Send at a rate, with at most so many requests in flight; waiting counts as latency",
        (f"tailproof run {_URL} --rate 20 --concurrency 64",),
        "files.md",
        "concurrency users parallel closed loop",
    ),
    Task(
        "runs over a week",
        "Judge the service and not the moment: runs at random times, judged together",
        ("tailproof run my-suite.toml --repeat 12 --over 7d",),
        "runs.md",
        "repeat several days service random times",
        ("Later, or again: tailproof judge FOLDER",),
    ),
    Task(
        "plan size",
        "Know before you pay whether a run can decide, and what it costs",
        ("tailproof plan my-suite.toml",),
        "planning.md",
        "how many requests cost budget power long enough beforehand inconclusive",
    ),
    Task(
        "highest rate",
        "Find the highest rate at which the contract holds",
        (f"tailproof ramp {_URL} --slo 'ttft:p99<800ms' --max-rate 200",),
        "ramp.md",
        "capacity throughput saturation maximum load search goodput",
    ),
    Task(
        "judge again",
        "Judge a finished run by another contract, without sending anything",
        ("tailproof judge RUN --contract pro-channel",),
        "contracts.md",
        "rejudge other contract re-evaluate slo",
    ),
    Task(
        "judge several runs",
        "Judge runs of one plan together",
        ("tailproof judge RUN RUN",),
        "runs.md",
        "together many repeat",
    ),
    Task(
        "claim",
        "Judge last month's log by the contract, file it, and claim the credit",
        (
            "tailproof judge --census requests.csv --contract aws-bedrock --report october",
            "tailproof claim october",
        ),
        "tutorials/last-months-claim.md",
        "credit month log census sla breach refund uptime bill file",
        ("To rehearse: the scenario written-uptime stands for a log.",),
    ),
    Task(
        "compare tiers",
        "Is the dearer tier faster, and is it worth its price?",
        ("tailproof compare RUN:standard RUN:pro --yearly-usd 180000",),
        "tutorials/shared-or-dedicated.md",
        "shared or dedicated provisioned premium two targets faster worth price ab",
        ("Both targets in one run: a suite whose stage names two targets.",),
    ),
    Task(
        "compare with a baseline",
        "Fail a build when latency got worse than the stored baseline",
        (
            "tailproof compare RUN --save-baseline baseline.json",
            "tailproof compare RUN --baseline baseline.json",
        ),
        "comparison.md",
        "regression ci gate before after",
    ),
    Task(
        "find the cause",
        "Find out what the slow requests have in common",
        ("tailproof attribute RUN",),
        "attribution.md",
        "why slow tail attribution explain cause reason",
    ),
    Task(
        "try router settings",
        "Try other router thresholds and hedging delays on recorded answers",
        ("tailproof what-if RUN --default default --fallback fallback",),
        "what-if.md",
        "routing hedge failover policy deadline fallback",
    ),
    Task(
        "monthly bill",
        "Know what a month would cost, with the overhead that a run measured",
        ("tailproof cost RUN",),
        "cost.md",
        "price usd tokens per month",
    ),
    Task(
        "watch for weeks",
        "Probe a service for weeks: outages, error budget, a verdict each month",
        (
            "tailproof watch my-suite.toml --contract enterprise",
            "tailproof watch --status results/watch-my-suite",
        ),
        "watch.md",
        "monitor monitoring probe outage uptime alert synthetic",
    ),
    Task(
        "resume",
        "Go on with a run that was interrupted or killed",
        ("tailproof resume RUN",),
        "crash.md",
        "continue crash killed broke off",
    ),
    Task(
        "several machines",
        "Send one plan from three machines, and judge it as one run",
        (
            "tailproof run my-suite.toml --shard 1/3 --out part-1",
            "tailproof merge part-1 part-2 part-3",
        ),
        "scale.md",
        "distributed shards workers cluster regions merge more load",
    ),
    Task(
        "calibrate",
        "Know what this machine can measure: its own timing error and its ceiling",
        ("tailproof calibrate",),
        "dev/performance.md",
        "accuracy overhead limits invalid harness",
    ),
    Task(
        "report again",
        "Write a run's report once more, as PDF too",
        ("tailproof report RUN --pdf",),
        "formats.md",
        "html pdf figures plots page",
    ),
    Task(
        "export",
        "Take a run's rows, histograms or metrics to another tool",
        ("tailproof export RUN --format csv --out rows.csv",),
        "exports.md",
        "csv json parquet prometheus opentelemetry otlp rows",
    ),
    Task(
        "import openslo",
        "Turn an OpenSLO file into a contract",
        ("tailproof import-openslo slo.yaml",),
        "exports.md",
        "yaml slo convert",
    ),
    Task(
        "verify",
        "Check that nobody changed a run, and that its verdicts follow from its rows",
        ("tailproof verify RUN",),
        "verify.md",
        "tampered digest signature audit sign proof",
    ),
    Task(
        "sign",
        "Sign a run's manifest, so that others can check who vouches for it",
        ("tailproof sign RUN --key key.pem",),
        "verify.md",
        "signature key ed25519",
    ),
    Task(
        "browse",
        "Browse, compare and watch runs in a browser",
        ("tailproof ui",),
        "ui.md",
        "page local results dashboard trend",
    ),
    Task(
        "simulate",
        "Compute millions of requests by the simulator's law",
        ("tailproof simulate long-tail --requests 200000",),
        "simulation.md",
        "virtual without sending statistics",
    ),
    Task(
        "serve the simulator",
        "Serve a provider with a planted fault, for tailproof or any other client",
        ("tailproof gateway --scenario premium-placebo",),
        "gateway.md",
        "gateway mock fake server local",
    ),
    Task(
        "built in names",
        "List the built-in suites, profiles, targets and contracts",
        ("tailproof profiles", "tailproof profiles contracts"),
        "files.md",
        "list names templates vendors",
    ),
    Task(
        "file keys",
        "Get the schema of a file that you write, for your editor",
        ("tailproof schema contract",),
        "files.md",
        "json schema keys toml editor",
    ),
    Task(
        "completion",
        "Complete commands, names and run folders with the tab key",
        ("tailproof completion --install",),
        "help.md",
        "shell bash zsh fish tab",
    ),
)


def nearest(words: Sequence[str], most: int = 3) -> list[Task]:
    """The tasks that are meant by some words, best first; the one of exactly this name alone."""
    typed = re.findall(r"[\w-]+", " ".join(words).lower())
    asked = [word for word in typed if word not in _FILLERS.split()]
    exact = [task for task in TASKS if task.name == " ".join(typed)]
    if exact or not asked:
        return exact
    scored = [(_likeness(task, asked), -place) for place, task in enumerate(TASKS)]
    best = max(scored)[0]
    # below that too little was understood
    near = [(score, place) for score, place in scored if score >= max(0.4, 0.8 * best)]
    return [TASKS[-place] for _, place in sorted(near, reverse=True)[:most]]


def _likeness(task: Task, asked: Sequence[str]) -> float:
    """0 to 1: how much of what was asked for the task's words hold; its own name most."""
    names = {*task.name.split(), *task.commands}
    others = set(re.findall(r"[\w-]+", f"{task.says} {task.also}".lower()))
    return sum(max(_near(word, names), 0.7 * _near(word, others)) for word in asked) / len(asked)


def _near(word: str, words: set[str]) -> float:
    if word in words:
        return 1.0
    if len(word) > 3 and any(each.startswith(word[: max(4, len(word) - 2)]) for each in words):
        return 0.9
    return 0.8 if difflib.get_close_matches(word, words, 1, 0.8) else 0.0
