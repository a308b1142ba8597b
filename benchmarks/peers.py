"""tailproof beside AIPerf and GuideLLM: the same load, the same server, whose true times are known.

In: rates. Out: for each tool what was sent, what it reported, and what the server really did.
Each peer lives in an environment of its own under `--envs` and is installed there on first use
(AIPerf about 0.5 GB, GuideLLM about 5 GB). The server is `truthd` where its C source is given
(`--truthd PATH`, found by itself beside the checkout), else tailproof's own null server.

    make bench-peers                          # or: python benchmarks/peers.py --rates 200 800
    --tools tailproof aiperf
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
TRUTHD = ROOT.parent / "shared" / "tools" / "truthd.c"
TOKENS = 16
LAW = [
    "--ttft-ms",
    "20",
    "--sigma",
    "0.3",
    "--slow-p",
    "0.015",
    "--slow-ms",
    "400",
    "--itl-ms",
    "2",
    "--tokens",
    str(TOKENS),
]
PACKAGES = {"aiperf": "aiperf==0.13.*", "guidellm": "guidellm==0.8.1"}
_MAKE_TOKENIZER = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
names = "[UNK] [PAD] a b c d e f g h token word".split()
words = {name: number for number, name in enumerate(names)}
made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")
fast.save_pretrained(sys.argv[1])
"""


@dataclass(frozen=True)
class Reported:
    """What a tool says: TTFT in ms."""

    p50: float
    p99: float
    cpu_s: float


@dataclass(frozen=True)
class Truth:
    """What the server saw."""

    requests: int
    rps: float
    p50: float
    p99: float


class Server:
    """The ground truth, and how to ask it."""

    def __init__(self, url: str, kind: str):
        self.url, self.kind = url, kind
        self._seen = 0

    def reset(self) -> None:
        if self.kind == "truthd":
            urlopen(Request(f"{self.url}/reset", method="POST")).close()
        else:
            self._seen += len(self._rows())

    def truth(self) -> Truth:
        if self.kind == "truthd":
            data = json.load(urlopen(f"{self.url}/truth"))
            return Truth(
                data["requests"], data["rps"], data["ttft_ms"]["p50"], data["ttft_ms"]["p99"]
            )
        rows = self._rows()
        ttft = sorted((row[2] - row[1]) / 1e6 for row in rows if row[2] > 0)
        span = (max(row[1] for row in rows) - min(row[1] for row in rows)) / 1e9
        return Truth(
            len(rows),
            (len(rows) - 1) / span,
            ttft[-(-len(ttft) // 2) - 1],
            ttft[-(-99 * len(ttft) // 100) - 1],
        )

    def _rows(self) -> list[list[int]]:
        flat = json.load(urlopen(f"{self.url}/truth?from={self._seen}"))
        return [flat[i : i + 4] for i in range(0, len(flat), 4)]


@contextlib.contextmanager
def server(source: Path | None) -> Iterator[Server]:
    """Start the ground-truth server; it ends with the block."""
    if source is not None and source.is_file() and shutil.which("cc"):
        with tempfile.TemporaryDirectory() as folder:
            binary = Path(folder) / "truthd"
            subprocess.run(
                ["cc", "-O2", "-o", str(binary), str(source), "-lm"],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            process = subprocess.Popen(
                [str(binary), "--port", "9107", *LAW], stdout=subprocess.DEVNULL
            )
            try:
                time.sleep(0.3)
                yield Server("http://127.0.0.1:9107", "truthd")
            finally:
                process.terminate()
                process.wait()
        return
    null = subprocess.Popen(
        [sys.executable, "-m", "bench.load.nullserver", "--tokens", str(TOKENS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert null.stdout is not None
    assert null.stdin is not None
    try:
        yield Server(
            f"http://127.0.0.1:{json.loads(null.stdout.readline())['port']}", "null server"
        )
    finally:
        null.stdin.close()
        null.wait()


def environment(tool: str, envs: Path) -> Path:
    """The tool's own environment, installed on first use; returns its bin folder."""
    if tool == "tailproof":
        return Path(sys.executable).parent
    home = envs / tool
    if not (home / ".ready").exists():
        print(f"installing {PACKAGES[tool]} into {home} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run(
            [
                str(home / "bin" / "pip"),
                "install",
                "-q",
                PACKAGES[tool],
                "transformers",
                "tokenizers",
            ],
            check=True,
        )
        subprocess.run(
            [str(home / "bin" / "python"), "-c", _MAKE_TOKENIZER, str(home / "tokenizer")],
            check=True,
        )
        (home / ".ready").touch()
    return home / "bin"


def _run(command: list[str], log: Path) -> float:
    """Run to its end; CPU seconds of the process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as handle:
        done = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"{command[0]} ended with {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tailproof(url: str, rate: int, count: int, work: Path, bin_folder: Path) -> Reported:
    out = work / "run"
    cpu = _run(
        [
            str(bin_folder / "tailproof"),
            "run",
            "--url",
            url,
            "--model",
            "m",
            "--request-rate",
            str(rate),
            "--request-count",
            str(count),
            "--isl",
            "64",
            "--osl",
            str(TOKENS),
            "--quiet",
            "--out",
            str(out),
        ],
        work / "log",
    )
    ttft = json.loads((out / "summary.json").read_text())["targets"]["target"]["response_ms"][
        "ttft"
    ]
    return Reported(ttft["p50"], ttft["p99"], cpu)


def aiperf(url: str, rate: int, count: int, work: Path, bin_folder: Path) -> Reported:
    prompts = work / "prompts.jsonl"
    prompts.write_text(
        "".join(
            json.dumps({"text": f"word {n} a b c", "output_length": TOKENS}) + "\n"
            for n in range(count)
        )
    )
    cpu = _run(
        [
            str(bin_folder / "aiperf"),
            "profile",
            "--model",
            "m",
            "--url",
            url,
            "--endpoint-type",
            "chat",
            "--streaming",
            "--request-rate",
            str(rate),
            "--request-rate-mode",
            "poisson",
            "--request-count",
            str(count),
            "--input-file",
            str(prompts),
            "--custom-dataset-type",
            "single_turn",
            "--tokenizer",
            str(bin_folder.parent / "tokenizer"),
            "--extra-inputs",
            f"max_tokens:{TOKENS}",
            "--ui",
            "none",
            "--artifact-dir",
            str(work / "out"),
        ],
        work / "log",
    )
    data = json.loads((work / "out" / "profile_export_aiperf.json").read_text())[
        "time_to_first_token"
    ]
    return Reported(data["p50"], data["p99"], cpu)


def guidellm(url: str, rate: int, count: int, work: Path, bin_folder: Path) -> Reported:
    prompts, out = work / "prompts.jsonl", work / "out.json"
    prompts.write_text(
        "".join(
            json.dumps({"prompt": f"word {n} a b c", "output_tokens_count": TOKENS}) + "\n"
            for n in range(count)
        )
    )
    cpu = _run(
        [
            str(bin_folder / "guidellm"),
            "run",
            "--backend",
            f"kind=openai_http,target={url},model=m,request_format=/v1/chat/completions",
            "--profile",
            f"kind=poisson,rate={rate}",
            "--constraint",
            f"kind=max_requests,count={count}",
            "--tokenizer",
            f"kind=hf_auto,model={bin_folder.parent / 'tokenizer'}",
            "--data",
            f"kind=json_file,path={prompts}",
            "--output",
            f"kind=json,path={out}",
            "--disable-console",
        ],
        work / "log",
    )
    found = _find(json.loads(out.read_text()), "time_to_first_token_ms")
    percentiles = found["successful"]["percentiles"]
    return Reported(percentiles["p50"], percentiles["p99"], cpu)


def _find(value: Any, key: str) -> Any:
    """The first mapping under `key`, however deep."""
    if isinstance(value, dict):
        if key in value and isinstance(value[key], dict):
            return value[key]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        if (hit := _find(inner, key)) is not None:
            return hit
    return None


TOOLS = {"tailproof": tailproof, "aiperf": aiperf, "guidellm": guidellm}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rates", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--envs", type=Path, default=ROOT / ".peers")
    parser.add_argument("--truthd", type=Path, default=TRUTHD)
    given = parser.parse_args()
    bins = {tool: environment(tool, given.envs) for tool in given.tools}
    with server(given.truthd) as truth, tempfile.TemporaryDirectory() as scratch:
        print(f"server: {truth.kind}; times in ms; sent = seen by the server")
        print(
            f"{'asked':>7} {'tool':<10} {'sent/s':>8} {'of asked':>8} {'TTFT p50':>9} {'truth':>8}"
            f" {'error':>8} {'p99':>9} {'truth':>8} {'error':>8} {'CPU s':>7} {'ms/request':>10}"
        )
        for rate in given.rates:
            for tool in given.tools:
                work = Path(scratch) / f"{tool}-{rate}"
                work.mkdir()
                truth.reset()
                said = TOOLS[tool](truth.url, rate, round(rate * given.seconds), work, bins[tool])
                real = truth.truth()
                print(
                    f"{rate:>5}/s {tool:<10} {real.rps:>8.1f} {real.rps / rate:>8.2f}"
                    f" {said.p50:>9.2f} {real.p50:>8.2f} {said.p50 - real.p50:>+8.2f}"
                    f" {said.p99:>9.2f} {real.p99:>8.2f} {said.p99 - real.p99:>+8.2f}"
                    f" {said.cpu_s:>7.1f} {1000 * said.cpu_s / max(real.requests, 1):>10.2f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
