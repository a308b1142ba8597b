"""Are the packages whole, and does tailproof run on what it declares?

    python -m benchmarks.packages            # wheel and sdist, lowest versions, the sdist's tests
    python -m benchmarks.packages pythons    # the wheel on each Python from 3.11 that is found

`make packages` and `make pythons` call it, and put uv, `build` and `twine` into `.packages`. The
sdist's tests run in the environment that this runs in, which has the development extras.

1. `python -m build` makes the sdist, and from what the sdist holds the wheel; `twine check`.
2. The sdist is unpacked. All of its tests are collected, and those run that read the most of a
   checkout: pages, commands in pages, schemas.
3. The wheel is installed twice, with the lowest version of each package that pyproject.toml names:
   alone, and with the extras. `benchmarks/smoke.py` uses both. The oldest Python does it, which is
   the one that packages of that age have wheels for.

Everything happens below a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ROOT / "benchmarks" / "smoke.py"
TOOLS = ROOT / ".packages" / "bin"
OLDEST = (3, 11)
#: `requires-python` has no end: newer ones are tried as soon as they are found.
NEWEST = (3, 19)
#: All that need no second machine: Ray is what `make test-cluster` installs.
EXTRAS = "aws,gcp,http2,httpx2,openslo,parquet,pdf,sign,tokenizer,ui"
#: Tests of the sdist that read files of a checkout, quick ones.
OF_THE_SDIST = "test_docs or test_docs_commands or published_schema"


class Failed(Exception):
    """A step ended badly; what it wrote."""


def do(step: str, command: Sequence[str | Path], **environment: str) -> str:
    """What the command writes; the checkout is not on the path of the Python that it starts."""
    env = {**os.environ, **environment}
    if "PYTHONPATH" not in environment:
        env.pop("PYTHONPATH", None)
    cwd = environment.get("PYTHONPATH") or tempfile.gettempdir()
    ran = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(f"{step}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def version_of(python: Path) -> tuple[int, int] | None:
    """Its version; None for what does not start, such as the shim of a version manager."""
    program = "import sys; print(*sys.version_info[:2])"
    ran = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if ran.returncode:
        return None
    major, minor = ran.stdout.split()
    return int(major), int(minor)


def pythons() -> Iterator[tuple[tuple[int, int], Path]]:
    """One interpreter of each version: on the path, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        name = f"python3.{minor}"
        found = [Path(path)] if (path := shutil.which(name)) else []
        found += sorted(kept.glob(f"3.{minor}.*/bin/{name}"), reverse=True)
        for python in found:
            if version_of(python) == (3, minor):
                yield (3, minor), python
                break


def build(folder: Path) -> tuple[Path, Path]:
    """The wheel and the sdist, which are well described."""
    dist = folder / "dist"
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"  # where `build` looks for uv
    build_it: list[str | Path] = [
        TOOLS / "python",
        "-m",
        "build",
        "--installer",
        "uv",
        "--outdir",
        dist,
        ROOT,
    ]
    do("build", build_it, PATH=path)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    do("twine", [TOOLS / "python", "-m", "twine", "check", "--strict", wheel, sdist])
    return wheel, sdist


def try_sdist(sdist: Path, folder: Path) -> str:
    """Unpacked, its tests are all found, and those that read the checkout pass."""
    with tarfile.open(sdist) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (each for each in folder.iterdir() if each.name.startswith("tailproof-"))
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=--strict-markers",
        "-p",
        "no:cacheprovider",
        "-k",
        OF_THE_SDIST,
    ]
    lines = do("tests of the sdist", pytest, PYTHONPATH=str(unpacked)).splitlines()
    return "sdist: " + next(line.strip("= ") for line in reversed(lines) if " passed" in line)


def try_wheel(wheel: Path, home: Path, python: Path, *, extras: bool, lowest: bool) -> str:
    """A smoke test in an environment of its own; what it says."""
    do("environment", [TOOLS / "uv", "venv", "-q", "--python", python, home])
    what = f"{wheel}[{EXTRAS}]" if extras else str(wheel)
    resolution = ["--resolution", "lowest-direct"] if lowest else []
    inside = home / "bin" / "python"
    do("installing", [TOOLS / "uv", "pip", "install", "-q", *resolution, "--python", inside, what])
    said = do(
        f"smoke test in {home.name}",
        [inside, "-I", SMOKE, *(["--extras"] if extras else [])],
    )
    return f"{home.name}: {said.strip()}"


def try_packages(folder: Path) -> None:
    """The packages, their tests and the lowest versions."""
    wheel, sdist = build(folder)
    found = dict(pythons())
    if OLDEST not in found:
        raise Failed("the lowest versions have wheels for Python 3.11, and none was found")
    oldest = found[OLDEST]
    with ThreadPoolExecutor(2) as pool:
        tests = pool.submit(try_sdist, sdist, folder)
        lowest = [
            pool.submit(
                try_wheel,
                wheel,
                folder / name,
                oldest,
                extras=name == "lowest-extras",
                lowest=True,
            )
            for name in ("lowest", "lowest-extras")
        ]
        for each in (*lowest, tests):
            print(each.result(), flush=True)


def try_pythons(folder: Path) -> None:
    """The wheel with today's packages on each Python."""
    wheel, _ = build(folder)
    for (major, minor), python in pythons():
        home = folder / f"python{major}.{minor}"
        print(try_wheel(wheel, home, python, extras=False, lowest=False), flush=True)


def main() -> None:
    """Either, below a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=("packages", "pythons"), default="packages")
    what = parser.parse_args().what
    with tempfile.TemporaryDirectory(prefix="tailproof-packages-") as name:
        try:
            (try_pythons if what == "pythons" else try_packages)(Path(name))
        except Failed as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
