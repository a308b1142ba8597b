"""The wheel brings the man page, made from the commands as they are: share/man/man1/tailproof.1."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPage(BuildHookInterface):  # type: ignore[misc,unused-ignore]
    """Runs before a wheel is put together; an editable one has no place for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from bench.cli import tailproof
        from bench.cli.manual import manual

        page = Path(self.directory) / "tailproof.1"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(manual(tailproof), "utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/tailproof.1"

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        if version != "editable":
            (Path(self.directory) / "tailproof.1").unlink(missing_ok=True)
