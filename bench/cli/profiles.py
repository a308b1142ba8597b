"""`tailproof profiles`: everything that is built in, a line each."""

from __future__ import annotations

import click

_TITLES = {"suites": "suites", "scenarios": "scenarios (embedded gateway)", "load": "load profiles", "targets": "targets",
           "contracts": "contracts", "costs": "cost tables"}  # fmt: skip


@click.command(short_help="List the built-in suites, profiles, targets and contracts.")
@click.argument("kind", required=False, type=click.Choice(list(_TITLES)))
@click.option("--path", is_flag=True, help="Print the folder they lie in, to copy and change them.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def profiles(kind: str | None, path: bool, form: str) -> int:
    """List what is built in. Each name can stand where a .toml path can."""
    import json

    from bench.userfile import builtin_names, builtin_root, read_toml

    if path:
        click.echo(builtin_root())
        return 0
    found = {}
    for folder in [kind] if kind else _TITLES:
        files = {name: read_toml(builtin_root() / folder / f"{name}.toml") for name in builtin_names(folder)}
        found[folder] = {name: data.get("description") or data.get("title", "") for name, data in files.items()}
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    width = max(len(name) for listed in found.values() for name in listed)
    for folder, listed in found.items():
        click.echo(_TITLES[folder])
        for name, says in listed.items():
            click.echo(f"  {name:<{width}} {says}")
    return 0
