"""`tailproof profiles`: everything that is built in, a line each."""

from __future__ import annotations

import click

_TITLES = {"suites": "suites", "scenarios": "scenarios (embedded gateway)", "load": "load profiles", "targets": "targets",
           "contracts": "contracts"}  # fmt: skip


@click.command(short_help="List the built-in suites, profiles, targets and contracts.")
@click.argument("kind", required=False, type=click.Choice(list(_TITLES)))
@click.option("--path", is_flag=True, help="Print the folder they lie in, to copy and change them.")
def profiles(kind: str | None, path: bool) -> int:
    """List what is built in. Each name can stand where a .toml path can."""
    from bench.userfile import builtin_names, builtin_root, read_toml

    if path:
        click.echo(builtin_root())
        return 0
    for folder, title in _TITLES.items():
        if kind not in (None, folder):
            continue
        click.echo(title)
        for name in builtin_names(folder):
            data = read_toml(builtin_root() / folder / f"{name}.toml")
            click.echo(f"  {name:<18} {data.get('description') or data.get('title', '')}")
    return 0
