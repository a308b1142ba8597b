"""Does what is installed work at all? For one environment, without pytest and outside a checkout.

    python -I benchmarks/smoke.py [--extras]

Imports every module with warnings as errors, asks for help, plays one run in virtual time and one
against the gateway, and reads both back: rows, judgement, digests, page, exports. `--extras` says
that the extras are installed, so that nothing may be missing; it adds Parquet, OpenSLO and a
signature. It imports nothing of the checkout, so that the
environment's own tailproof is what is tried.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
import tempfile
import warnings
from pathlib import Path

#: What modules of an extra import first; without the extra these may be missing.
OF_EXTRAS = {
    "botocore",
    "google",
    "h2",
    "hyperframe",
    "pyarrow",
    "ray",
    "starlette",
    "uvicorn",
    "weasyprint",
    "yaml",
}
NEVER_HERE = {"ray"}  # too heavy for a smoke test: make test-cluster
PROFILE = """
description = "twenty a second for two seconds"
duration = "2s"
[arrivals]
kind = "constant"
rate = "20/s"
[[prompt_tokens]]
fixed = 10
[[output_tokens]]
fixed = 3
"""
ROWS = 40
SUITE = """
description = "one pool that answers in 20 ms"
[gateway]
simulated = {simulated}
[[gateway.model]]
name = "*"
pool = "quick"
[[gateway.pool]]
name = "quick"
e2e = {{ fixed = "20ms" }}
[truth]
says = "e2e is 20 ms"
[[stage]]
name = "steady"
targets = ["default"]
profile = "forty.toml"
"""


def refuse(what: str) -> None:
    """End with the reason."""
    sys.exit(f"smoke: {what}")


def import_all(extras: bool) -> int:
    """How many modules came in; what misses a package of an extra is left out where it may be."""
    import bench

    count = 0
    for module in pkgutil.walk_packages(bench.__path__, "bench."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            absent = (error.name or "").partition(".")[0]
            if absent not in (NEVER_HERE if extras else OF_EXTRAS):
                refuse(f"{module.name} needs {error.name}")
        else:
            count += 1
    return count


def call(*arguments: str) -> str:
    """What `tailproof ARGUMENTS` writes; it ends well."""
    from bench.cli import main

    said = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(said, "utf-8", write_through=True)) as stdout:
        code = main(list(arguments))
        stdout.flush()
        text = said.getvalue().decode("utf-8", "replace")
    if code != 0:
        refuse(f"tailproof {' '.join(arguments)} ended with {code}: {text}")
    return text


def make_and_read(command: str, folder: Path, *, simulated: bool) -> None:
    """One run, its rows counted by hand, and what is said of it."""
    suite = folder / f"{command}.toml"
    suite.write_text(SUITE.format(simulated="true" if simulated else "false"))
    run = folder / f"{command}-run"
    exactly = ["--requests", str(ROWS)] if simulated else []
    call(command, str(suite), "--quiet", "--out", str(run), *exactly)
    rows = json.loads((run / "summary.json").read_text("utf-8"))
    requests = [target["requests"] for target in rows["targets"].values()]
    if requests != [ROWS]:
        refuse(f"{command}: {requests} requests where {ROWS} were planned")
    call("judge", str(run), "--slo", "e2e:p50<10s")
    call("verify", str(run))
    call("report", str(run))
    if "<svg" not in (run / "report.html").read_text("utf-8"):
        refuse(f"{command}: a report without figures")
    lines = call("export", str(run), "--format", "csv").splitlines()
    if len(lines) != ROWS + 1:
        refuse(f"{command}: {len(lines)} lines of CSV, not {ROWS} and a heading")


def use_extras(folder: Path) -> None:
    """Parquet written and judged, OpenSLO there and back, a signature."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    run = str(folder / "run-run")
    log = folder / "log.parquet"
    call("export", run, "--format", "parquet", "--out", str(log))
    judged = json.loads(
        call("judge", "--census", str(log), "--slo", "e2e:p50<10s", "--format", "json")
    )
    if judged["log"]["rows"] != ROWS or judged["overall"] != "PASS":
        refuse(f"a census of {ROWS} rows of Parquet: {judged}")
    slos = folder / "slos.yaml"
    call("export", "enterprise", "--format", "openslo", "--out", str(slos))
    if "clause = [" not in call("import-openslo", str(slos)):
        refuse("a contract went through OpenSLO and lost its clauses")
    key = folder / "key.pem"
    key.touch(mode=0o600)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key.write_bytes(pem)
    call("sign", run, "--key", str(key))
    call("verify", run)


def main() -> None:
    """All of it, in a folder of its own."""
    extras = "--extras" in sys.argv[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modules = import_all(extras)
    if "Usage" not in call("--help"):
        refuse("no help")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        (folder / "forty.toml").write_text(PROFILE)
        make_and_read("simulate", folder, simulated=True)
        make_and_read("run", folder, simulated=False)
        if extras:
            use_extras(folder)
        os.chdir(folder.parent)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"smoke: Python {version}: {modules} modules, a simulated run and a played one")


if __name__ == "__main__":
    main()
