"""`tailproof profiles`: everything that is built in, a line each."""

from __future__ import annotations

import click

from bench.cli.output import described, format_option, print_json, print_lines

_TITLES = {
    "suites": "suites",
    "scenarios": "scenarios (embedded gateway)",
    "load": "load profiles",
    "targets": "targets",
    "contracts": "contracts",
    "costs": "cost tables",
}


@click.command(short_help="List the built-in suites, profiles, targets and contracts.")
@click.argument("kind", required=False, type=click.Choice(list(_TITLES)))
@click.option("--path", is_flag=True, help="Print the folder they lie in, to copy and change them.")
@format_option()
def profiles(kind: str | None, path: bool, form: str) -> int:
    """List what is built in. Each name can stand where a .toml path can."""
    from bench.userfile import builtin_names, builtin_root, read_toml

    if path:
        root = str(builtin_root())
        if form == "json":
            print_json({"path": root})
        else:
            print_lines([root])
        return 0
    found = {}
    for folder in [kind] if kind else _TITLES:
        files = {
            name: read_toml(builtin_root() / folder / f"{name}.toml")
            for name in builtin_names(folder)
        }
        found[folder] = {
            name: data.get("description") or data.get("title", "") for name, data in files.items()
        }
    if form == "json":
        print_json(found)
        return 0
    width = max(len(name) for listed in found.values() for name in listed)
    for folder, listed in found.items():
        print_lines([_TITLES[folder], *described(listed, width)])
    return 0
