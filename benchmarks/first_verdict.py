"""How long it takes from a clone to a verdict on one's own endpoint, by the README's own lines.

    python -m benchmarks.first_verdict

Clones this repository into a temporary folder and types what stands under "Your own endpoint",
with the simulator at the address and a key that is made up. Prints what each line took.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clock import monotonic_ns
from bench.units import S

ROOT = Path(__file__).resolve().parents[1]
#: What a reader replaces.
_ADDRESS, _KEY = "https://api.example.com/v1", "MY_KEY=…"
_SCENARIO = "vanity-average"


def lines_of_readme(readme: str) -> list[str]:
    """The commands under "Your own endpoint"."""
    section = readme.partition("## Your own endpoint")[2].partition("\n## ")[0]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.partition("  #")[0].rstrip() for line in block[1].splitlines()]


@contextmanager
def gateway() -> Iterator[str]:
    """The simulator, in this environment, for as long as it is needed."""
    words = [sys.executable, "-m", "bench.gateway", "--scenarios", _SCENARIO, "--exit-with-parent"]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        found = re.search(r'"url": "([^"]+)"', process.stdout.readline())
        assert found is not None
        yield f"{found[1]}/{_SCENARIO}/v1"
        process.stdin.close()


def main() -> int:
    """Print the times; the last line's exit code."""
    began_ns = monotonic_ns()
    with tempfile.TemporaryDirectory() as folder, gateway() as url:
        clone = Path(folder) / "tailproof"
        typed = [f"git clone -q {ROOT} {clone} && cd {clone}"]
        lines = lines_of_readme((ROOT / "README.md").read_text("utf-8"))
        typed += [line.replace(_ADDRESS, url).replace(_KEY, "MY_KEY=made-up") for line in lines]
        # One shell for all, as a reader has it; a line behind each says when it ended.
        script = "".join(f'{line}\ncode=$?; echo "ended $code $(date +%s%N)"\n' for line in typed)
        with subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.write(f"echo ended 0 $(date +%s%N)\n{script}")
            shell.stdin.close()
            code = _timed(typed, shell.stdout.read())
    print(f"{(monotonic_ns() - began_ns) / S:6.1f} s  in all, exit code {code}")
    return code


def _timed(typed: list[str], out: str) -> int:
    """Print what each line took, and what the last one said."""
    ends = [
        (int(code), int(at)) for code, at in re.findall(r"^ended (\d+) (\d+)$", out, re.MULTILINE)
    ]
    before = ends[0][1]
    for line, (code, at) in zip(typed, ends[1:], strict=True):
        print(f"{(at - before) / S:6.1f} s  exit {code}  {line[:70]}")
        before = at
    print(re.sub(r"^ended .*\n", "", out, flags=re.MULTILINE)[-600:])
    return ends[-1][0]


if __name__ == "__main__":
    sys.exit(main())
