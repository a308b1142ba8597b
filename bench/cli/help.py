"""How a command explains itself: its flags in panels, its examples, values as one would type them.

In: click's parameters, the tasks. Out: help pages. Must stay true: a flag has the same panel in
every command, bar those listed; a flag of another tool is understood as ours wherever ours is
known, and never shown; nothing is imported that `--help` would wait for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence

import click

from bench.cli.completing import completer

#: Flags of other tools that mean the same -> ours.
ALIASES = {
    "--request-rate": "--rate",
    "--base-url": "--url",
    "--target": "--url",
    "--max-concurrency": "--concurrency",
    "--parallel": "--concurrency",
    "--arrival-pattern": "--arrival",
    "--arrival-smoothness": "--burstiness",
    "--num-requests": "--request-count",
    "--num-prompts": "--request-count",
    "--benchmark-duration": "--duration",
    "--random-input-len": "--isl",
    "--random-output-len": "--osl",
    "--random-seed": "--seed",
    "--result-dir": "--out",
    "--output-artifact-dir": "--out",
}
#: A command with fewer flags shows them in one list.
_FEW = 15
#: Title -> the flags' parameters, in the order of the help.
PANELS: Mapping[str, Sequence[str]] = {
    "Target": (
        *("url", "api", "query", "model", "tier", "streaming", "header", "extra_body"),
        *("max_tokens_field", "timeout", "transport", "insecure", "ca_file", "no_ready_check"),
    ),
    "Key": ("auth", "api_key_env", "api_key_file", "api_key_command", "api_key_refresh"),
    "Load": (
        *("profile", "rate", "arrival", "burstiness", "concurrency", "isl", "osl", "tokenizer"),
        *("prompts", "column", "speed", "seed"),
    ),
    "Length": (
        *("duration", "request_count", "warmup_duration", "size_for", "quick", "stretch"),
        *("repeat", "over"),
    ),
    "Search": (
        *("target", "min_rate", "max_rate", "resolution", "max_probes", "cool_down", "max_time"),
        *("simulated",),
    ),
    "Contract": ("contract", "slo", "confidence", "early_stop", "leave_out"),
    "Full log": (
        *("census", "period", "covered", "complete_log", "monthly_bill_usd", "time_zone", "sort"),
        *("duplicates", "report", "customer"),
    ),
    "Caps": ("max_requests", "max_cost", "yes", "no_stop_rule"),
    "Several processes, several machines": (
        *("workers", "shard", "start_at", "vantage", "cluster", "shared"),
    ),
    "Result": (
        *("out", "over_http", "keep_answers", "metrics_port", "otlp_endpoint", "pdf"),
        *("junit_inconclusive", "form", "full", "quiet", "force"),
    ),
}
#: (command, parameter) -> its panel there, where the command means less by it.
_ELSEWHERE = {
    ("judge", "model"): "Full log",
    ("judge", "column"): "Full log",
    ("run", "leave_out"): "Several processes, several machines",
}
_REST = "Other"
#: What is typed for a flag, by parameter; where the declaration says nothing.
_METAVARS = {
    **dict.fromkeys(("rate", "min_rate", "max_rate"), "RATE"),
    **dict.fromkeys(
        ("duration", "warmup_duration", "timeout", "max_time", "cool_down", "lasts"), "TIME"
    ),
    "api_key_refresh": "TIME",
    **dict.fromkeys(
        ("confidence", "margin", "power", "resolution", "slow_share", "uptime_guess"), "SHARE"
    ),
    **dict.fromkeys(("profile", "contract", "scenarios", "tokenizer"), "NAME|FILE"),
    **dict.fromkeys(("model", "tier"), "NAME"),
    "url": "URL",
    "slo": "CLAUSE",
    "header": "NAME:VALUE",
    "extra_body": "JSON",
    **dict.fromkeys(("hook", "api_key_command"), "COMMAND"),
    "api_key_env": "VARIABLE",
    "api_key_file": "FILE",
}
_NUMBERS = {click.IntRange: "N", click.FloatRange: "X"}


class Command(click.Command):
    """A command of ours."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        for param in params:
            _prepare(param)
        return params

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ours(args, self.flags()))

    def flags(self) -> set[str]:
        """Every flag that it knows by its own name."""
        options = (param for param in self.params if isinstance(param, click.Option))
        return {flag for option in options for flag in (*option.opts, *option.secondary_opts)}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self.name or "", formatter)
        panels = self.panels(ctx)
        widest = min(30, max(len(flag) for rows in panels.values() for flag, _ in rows))
        for title, rows in panels.items():
            with formatter.section(title):
                # one column of flags for all panels
                formatter.write_dl([(flag.ljust(widest), says) for flag, says in rows])
        if len(panels) > 1:
            formatter.write_paragraph()
            formatter.write_text(f"By what you want to do: tailproof help {self.name}")

    def panels(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """(flag, what it does) by title, in the order of the help."""
        params = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        shown = [(param, record) for param in params if (record := param.get_help_record(ctx))]
        if len(shown) < _FEW:
            return {"Options": [record for _, record in shown]}
        found: dict[str, list[tuple[int, tuple[str, str]]]] = {
            title: [] for title in (*PANELS, _REST)
        }
        for param, record in shown:
            title, place = self._place_of(param)
            found[title].append((place, record))
        return {
            title: [record for _, record in sorted(rows, key=lambda row: row[0])]
            for title, rows in found.items()
            if rows
        }

    def _place_of(self, param: click.Parameter) -> tuple[str, int]:
        name = "full" if "--full" in param.opts else str(param.name)
        title = _ELSEWHERE.get((str(self.name), name))
        if title is None:
            title = next((title for title, names in PANELS.items() if name in names), _REST)
        names = PANELS.get(title, ())
        return title, names.index(name) if name in names else len(names)


def _prepare(param: click.Parameter) -> None:
    """What is typed for it and what the tab key offers, where its declaration says nothing."""
    if (complete := completer(param)) is not None:
        # click asks the parameter itself, before its type
        vars(param)["shell_complete"] = complete
    if isinstance(param, click.Option) and param.metavar is None and not param.is_flag:
        number = _NUMBERS.get(type(param.type))
        if number is not None or param.type is click.STRING:
            param.metavar = number or _METAVARS.get(str(param.name), "TEXT")


#: As `click.command`, with panels and examples.
command = functools.partial(click.command, cls=Command)


def ours(words: Iterable[str], flags: set[str]) -> list[str]:
    """The words of a command with other tools' flags as ours, where the command knows ours and has
    no flag of that name itself.
    """
    return [_as_ours(word, flags) for word in words]


def _as_ours(word: str, flags: set[str]) -> str:
    flag, joined, value = word.partition("=")
    meant = ALIASES.get(flag)
    if flag in flags or meant is None or meant not in flags:
        return word
    return meant + joined + value


def _write_examples(name: str, formatter: click.HelpFormatter) -> None:
    from bench.cli.tasks import TASKS

    found = [task for task in TASKS if name in task.commands]
    if not found:
        return
    with formatter.section("Examples"):
        for task in found:
            for row in click.wrap_text(task.says, formatter.width - 4).splitlines():
                formatter.write(f"  # {row}\n")
            for line in task.lines:
                if line.split()[1] == name:
                    write_line(line, formatter)


def write_line(line: str, formatter: click.HelpFormatter) -> None:
    """A command as a shell takes it, over several lines where the window is narrow."""
    room = formatter.width - formatter.current_indent
    for row in folded(line, room):
        formatter.write(f"{'':{formatter.current_indent}}{row}\n")


def folded(line: str, room: int) -> list[str]:
    """A command in lines of at most `room` cells, broken before a flag or a word."""
    words = re.findall(r"--?[\w-]+ (?:'[^']*'|[^-\s]\S*)|(?:'[^']*'|\S)+", line)
    rows = [words[0]]
    for word in words[1:]:
        if len(rows[-1]) + len(word) + 3 <= room:
            rows[-1] += f" {word}"
        else:
            rows[-1] += " \\"
            rows.append(f"    {word}")
    return rows
