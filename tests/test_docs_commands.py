"""What the documentation tells a reader to type, held against the product: commands, flags and
their values, files, keys and exit codes. Nothing is run.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import pytest
from pydantic import BaseModel

from bench.app.conclude import worst_exit
from bench.cli import tailproof
from bench.cli.flags import SuiteFlags, flags_of, parsed_rate
from bench.cli.run import suite_of
from bench.errors import ExitCode
from bench.extras.cost.cost import parse_tokens
from bench.extras.what_if.settings import parse_sweep
from bench.gateway.scenarios import Scenario
from bench.load.shard import parse_instant, parse_shard, parse_vantage
from bench.plan.clause import parse_slo
from bench.plan.contract import Contract, load_contract
from bench.plan.profile import Profile, load_profile
from bench.plan.rows import SCHEDULE_DTYPE
from bench.plan.suite import ScenarioFile, StageFile, SuiteFile, load_suite
from bench.plan.target import Target, load_target
from bench.record.samples import SAMPLE_DTYPE
from bench.units import parse_duration_ns, parse_share, parse_usd
from bench.userfile import builtin_names
from tests.test_docs import PAGES, ROOT

#: Exit codes that no verdict and no error of the user's has: a fault, and a reader that went away.
OF_FAULTS = {70}
#: Values, not keys, of the records that pages draw.
VALUES = {"due", "assumed"}
#: Keys and functions of other programs, which pages speak of.
FOREIGN = {
    *("record_value", "input_config", "max_concurrent_requests", "inter_chunk_latency"),
    *("max_output_tokens_per_s", "time_to_second_token"),
}
#: Pages that speak of vendors' keys.
OF_VENDORS = ("CHANGELOG.md", "dependencies.md", "apis.md", "bedrock.md")
#: What is put before and behind a metric's name.
MADE = r"^service_|_(?:ms|seconds|total)$"
#: A word that a reader replaces: `RUN`, `HEAD:6379`, `my-suite.toml`.
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Typed:
    """A command line of a page; `whole` where it stands in a block of its own, to be typed as it
    is.
    """

    where: str
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def blocks_of(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block and, as language "", of each indented one."""
    text = page.read_text("utf-8")
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for found in fenced.finditer(text):
        yield found[1], found[2]
    for indented in re.findall(r"(?<=\n\n)((?: {4}.*\n)+)", fenced.sub("", text)):
        yield "", re.sub(r"^ {4}", "", indented, flags=re.MULTILINE)


def lines_of(block: str) -> Iterator[str]:
    """The commands of a block: one goes on in lines that are indented, and to its closing quote."""
    line = ""
    for part in re.sub(r"\\?\n\s+", " ", block).splitlines():
        line += f"\n{part}" if line else part
        if line.count('"') % 2 == 0:
            yield line
            line = ""


def typed_on(page: Path) -> Iterator[Typed]:
    """The command lines of a page: those of blocks, then those within sentences and tables."""
    name = str(page.relative_to(ROOT))
    for language, block in blocks_of(page):
        if language:
            continue
        for line in lines_of(block):
            yield Typed(name, line, whole=True)
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        yield Typed(name, " ".join(span.split()), whole=False)


@functools.cache
def typed() -> list[Typed]:
    """Every command line, and every other span of code."""
    return [line for page in PAGES for line in typed_on(page)]


def words_of(line: Typed) -> list[str]:
    """Its words up to a redirection, without comments; what a synopsis puts into brackets is
    there.
    """
    text = re.sub(r"\.\.\.(?!\w)|…|[\[\]]", "", line.text)
    words = shlex.split(text, comments=True)
    return list(itertools.takewhile(lambda word: word not in (">", "&&", "|"), words))


def calls_of(program: str) -> list[Typed]:
    """The command lines that begin with a program's name and go on."""
    return [line for line in typed() if line.text.startswith(f"{program} ")]


# ---- commands, flags, values


#: Flags with a language of their own, by the name of their parameter -> what reads them.
LANGUAGES: dict[str, Callable[[str], object]] = {
    "slo": parse_slo,
    **dict.fromkeys(("rate", "min_rate", "max_rate"), functools.partial(parsed_rate, "rate")),
    **dict.fromkeys(
        ("duration", "max_time", "lasts", "cool_down", "limit", "timeout", "warmup_duration"),
        parse_duration_ns,
    ),
    **dict.fromkeys(
        (
            *("slow_share", "uptime_guess", "power", "resolution", "margin", "confidence"),
            *("overhead", "output_share", "direct_discount"),
        ),
        parse_share,
    ),
    **dict.fromkeys(
        ("max_cost", "monthly_bill_usd", "max_cost_per_day", "engineering_usd"), parse_usd
    ),
    **dict.fromkeys(("threshold", "delay"), parse_sweep),
    "tokens_per_month": parse_tokens,
    "shard": parse_shard,
    "start_at": parse_instant,
    "vantage": parse_vantage,
}
#: Parameters that name a file by a built-in name or a path -> the folder, and what reads it.
NAMED: dict[str, tuple[tuple[str, ...], Callable[[str], object]]] = {
    "contract": (("contracts",), load_contract),
    "profile": (("load",), load_profile),
    "target": (("targets",), load_target),
    "suite": (("suites", "scenarios"), load_suite),
}


def command_of(words: Sequence[str]) -> click.Command:
    """The command that a line names. Raises click's UsageError for one that there is not."""
    context = click.Context(tailproof, info_name="tailproof")
    _, command, _ = tailproof.resolve_command(context, list(words[1:]))
    assert command is not None
    return command


def check_value(command: click.Command, param: click.Parameter, text: str) -> None:
    """Raises what the command would for a text that its parameter does not take."""
    if param.name in LANGUAGES and not (command.name == "watch" and text == "profile"):
        LANGUAGES[param.name](text)
    elif param.name in NAMED and not text.endswith(".toml"):
        folders, load = NAMED[param.name]
        assert any(text in builtin_names(folder) for folder in folders), text
        load(text)
    if not isinstance(param.type, click.Path | click.File):  # need not be here
        param.type.convert(text, param, None)


def value_given(value: object) -> bool:
    """What click's parser leaves for an argument that is not there is a marker of its own."""
    return isinstance(value, str | int | float | list | tuple)


def texts_of(given: object) -> list[str]:
    """What was typed for a parameter; `A|B` offers both."""
    several = given if isinstance(given, list | tuple) else [given]
    return [text for each in several if isinstance(each, str) for text in each.split("|")]


@pytest.mark.parametrize("line", calls_of("tailproof"), ids=str)
def test_every_command_line_parses(line: Typed) -> None:
    """A known command, known flags, values that it would take; where a target stands on the line,
    the whole as `run` would read it.
    """
    words = words_of(line)
    command = command_of(words)
    if not line.whole and words[-1].startswith("--"):  # named, not used
        assert any(words[-1] in param.opts for param in command.params)
        words.pop()
    context = click.Context(command, info_name=command.name)
    options, rest, _ = command.make_parser(context).parse_args(words[2:])
    for param in command.params:
        if param.callback is not None and value_given(options.get(str(param.name))):
            options[str(param.name)] = param.callback(context, param, options[str(param.name)])
    assert rest == []
    given = {param: texts_of(options.get(str(param.name))) for param in command.params}
    for param, texts in given.items():
        if line.whole and param.required:
            assert texts, f"{param.human_readable_name} is missing"
        for text in texts:
            if not PLACEHOLDER.fullmatch(text):
                check_value(command, param, text)
    if line.whole and "url" in options:
        given_flags = {name: value for name, value in options.items() if value_given(value)}
        assert suite_of(flags_of(SuiteFlags, given_flags)).stages


def test_both_kinds_of_lines_are_found() -> None:
    """The test above would pass on nothing."""
    found = calls_of("tailproof")
    assert sum(line.whole for line in found) > 30
    assert sum(not line.whole for line in found) > 60
    assert {"README.md", "docs/ramp.md", "docs/cost.md"} <= {line.where for line in found}


# ---- other programs that a page names


@pytest.mark.parametrize("line", [*calls_of("python"), *calls_of("make")], ids=str)
def test_programs_of_the_checkout_exist_and_know_their_flags(line: Typed) -> None:
    """`make TARGET`, `python -m benchmarks.NAME`, `python benchmarks/NAME.py`."""
    words = words_of(line)
    if words[0] == "make":
        rules = set(
            re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        )
        targets = [word for word in words if word != "make" and "=" not in word and word != "NAME"]
        assert set(targets) <= rules
        return
    if words[1] == "-c":
        compile(shlex.split(line.text)[2], str(line), "exec")
        return
    if words[1:3] == ["-m", "pytest"]:
        files = [word.partition("::")[0] for word in words[3:] if word.startswith("tests")]
        assert all((ROOT / file).exists() for file in files)
        return
    module = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
    source = (ROOT / module).read_text("utf-8")
    for word in words:
        if word.startswith("--") and word != "--help":
            assert f'"{word}"' in source, word


def test_extras_that_pages_install_are_those_of_the_package() -> None:
    """`pip install 'tailproof[ui]'`, and the same word in a sentence."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        extra
        for page in PAGES
        for found in re.findall(r"(?:tailproof|'\.)\[([a-z0-9,-]+)\]", page.read_text("utf-8"))
        for extra in found.split(",")
    }
    assert {"ui", "pdf", "tokenizer"} <= named <= set(known["optional-dependencies"])


# ---- files, keys, exit codes


def test_files_that_pages_name_are_in_the_checkout() -> None:
    """Paths from the root, and those of rooms as in `judge/stats/groups`."""
    rooms = "|".join(each.name for each in (ROOT / "bench").iterdir() if each.is_dir())
    named = re.compile(rf"(?:(?:bench|docs|tests|profiles|benchmarks)|{rooms})/[\w./*{{}},-]+")
    lost = [
        str(line)
        for line in typed()
        if named.fullmatch(line.text)
        and "NAME" not in line.text
        and not all(map(exists, alternatives(line.text)))
    ]
    assert lost == []


def alternatives(path: str) -> Iterator[str]:
    """`a/{b,c}.py` -> each."""
    found = re.search(r"\{([^}]*)\}", path)
    if not found:
        yield path
        return
    for each in found[1].split(","):
        yield from alternatives(path[: found.start()] + each + path[found.end() :])


def exists(path: str) -> bool:
    """A file or folder of the checkout; a module may go without its ending, or before a name."""
    path = path.rstrip("/")
    if re.fullmatch(r"[\w/]+\.(?!py$)[a-z_]+", path) and not (ROOT / path).exists():
        path = path.rpartition(".")[0]
    tries = itertools.product(("", "bench/"), ("", ".py"))
    return any(any(ROOT.glob(f"{home}{path}{end}")) for home, end in tries)


def test_keys_that_pages_name_occur_in_the_code() -> None:
    """`snake_case` in a sentence: a key, a column, an outcome, a method. A renamed one is found."""
    code = "\n".join(sources())
    known = set(re.findall(r"\w+", code + code.replace(".", "_")))
    named = {
        word
        for page in PAGES
        if page.name not in OF_VENDORS
        for word in re.findall(r"`([^`\n]+)`", page.read_text("utf-8"))
        if re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", word)
    }
    assert len(named) > 200
    assert {word for word in named - known if re.sub(MADE, "", word) not in known} <= FOREIGN


def sources() -> Iterator[str]:
    """What a key may be read or written by."""
    for folder, kind in (("bench", "py"), ("profiles", "toml"), ("benchmarks", "py")):
        for path in (ROOT / folder).rglob(f"*.{kind}"):
            yield path.read_text("utf-8")


@pytest.mark.parametrize(
    ("heading", "columns"),
    [("schedule.npy", SCHEDULE_DTYPE.names), ("samples/rows.npy", SAMPLE_DTYPE.names)],
)
def test_the_columns_of_tables_are_those_of_their_page(
    heading: str, columns: Sequence[str]
) -> None:
    """docs/formats.md names each column once."""
    page = (ROOT / "docs/formats.md").read_text("utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(firsts)) == sorted(
        columns, key=re.findall(r"`(\w+)`", " ".join(firsts)).index
    )


@pytest.mark.parametrize("kind", ["attribution", "census", "cost", "summary", "what-if"])
def test_records_drawn_on_pages_have_the_keys_of_their_schema(kind: str) -> None:
    """The blocks that begin with `{"format"`, on the page that links the schema."""
    schema = (ROOT / f"docs/schemas/{kind}.schema.json").read_text("utf-8")
    known = set(re.findall(r'"([\w/ ]+)"', schema))
    page = "formats" if kind == "summary" else kind
    drawn = [
        block
        for language, block in blocks_of(ROOT / f"docs/{page}.md")
        if language in ("", "text", "json") and '{"format"' in block
    ]
    assert drawn
    for block in drawn:
        assert set(re.findall(r'"(\w+)"', block)) - known - VALUES == set()


MODELS = (SuiteFile, StageFile, ScenarioFile, Scenario, Target, Profile, Contract)


@pytest.mark.parametrize(
    ("where", "block"),
    [
        (str(page.relative_to(ROOT)), block)
        for page in PAGES
        for language, block in blocks_of(page)
        if language == "toml"
    ],
)
def test_files_that_pages_show_have_known_keys(where: str, block: str) -> None:
    """Every key, and every key of every table inside, belongs to one kind of file."""
    data = tomllib.loads(block)
    strange = [list(unknown_keys(model, data)) for model in MODELS]
    assert [] in strange, min(strange, key=len)


def unknown_keys(model: type[BaseModel], data: Mapping[str, Any]) -> Iterator[str]:
    """Keys that the model, or a model inside it, has no field for."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in data.items():
        if key not in fields:
            yield f"{model.__name__}.{key}"
            continue
        inner = list(models_in(fields[key].annotation))
        tables = value if isinstance(value, list) else [value]
        for table in tables:
            if inner and isinstance(table, dict):
                found = [list(unknown_keys(each, table)) for each in inner]
                yield from min(found, key=len)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's value may be of, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not dict:
        for each in get_args(annotation):
            yield from models_in(each)


def test_the_suite_of_the_readme_loads(tmp_path: Path) -> None:
    """Its three files, saved under the names that it gives them."""
    readme = (ROOT / "README.md").read_text("utf-8")
    for block in re.findall(r"^```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        names = re.findall(r"[\w-]+\.toml", block.partition("\n")[0])
        assert names, block
        for name in names:
            (tmp_path / name).write_text(block, "utf-8")
    suite = load_suite(str(tmp_path / "my-suite.toml"))
    (stage,) = suite.stages
    assert [target.name for target in stage.targets] == ["standard", "pro"]
    assert stage.contract is not None
    assert [clause.metric for clause in stage.contract.clauses] == ["e2e", "uptime"]


def test_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    """The table, the order where several hold, and every `exit 3` of another page."""
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == {
        *map(int, ExitCode),
        70,
    }
    order = re.search(r"Where several hold: ([\d, ]+)\.", section)
    assert order
    codes = [ExitCode(int(code)) for code in order[1].split(", ")]
    for first, second in itertools.pairwise(codes):
        assert worst_exit([second, first]) == first
    named = {
        int(code)
        for page in PAGES
        for code in re.findall(
            r"\b[Ee]xit(?:s|:| with| code| status)* (\d+)", page.read_text("utf-8")
        )
    }
    assert named <= {*map(int, ExitCode), *OF_FAULTS}
