"""Traces: what is read, what is changed on the way, and what a bad line says."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from bench.plan.arrival_laws import TraceSource
from bench.plan.traces import grid_step_ns, read_trace, spread

SHARED = Path(__file__).resolve().parents[2] / "../shared/traces"
MS, S = 1_000_000, 1_000_000_000
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared trace excerpts are not here"
)
AZURE = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def source(path: Path, **keys: object) -> TraceSource:
    return TraceSource.model_validate({"file": str(path), **keys})


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def message(path: Path, **keys: object) -> str:
    with pytest.raises(UserError) as caught:
        read_trace(source(path, **keys), 1)
    return str(caught.value)


def mooncake(path: Path, stamps_ms: list[int]) -> Path:
    rows = (
        {"timestamp": at, "input_length": 10 + i, "output_length": 1 + i}
        for i, at in enumerate(stamps_ms)
    )
    return write(path, "\n".join(json.dumps(row) for row in rows))


def test_azure_rows_keep_seven_decimals_across_midnight(tmp_path: Path) -> None:
    """Stamps of 100 ns, CR LF and a last line without its newline are read to the nanosecond."""
    path = write(
        tmp_path / "a.csv",
        AZURE + b"2023-11-16 23:59:59.9799601,4808,10\r\n2023-11-17 00:00:00.0319600,3180,8",
    )
    trace = read_trace(source(path), 1)
    assert trace.due_ns.tolist() == [0, 51_999_900]
    assert trace.prompt_tokens.tolist() == [4808, 3180]
    assert trace.output_tokens.tolist() == [10, 8]
    assert (trace.due_ns.dtype, trace.prompt_tokens.dtype) == (np.dtype("int64"), np.dtype("int32"))


def test_zones_are_taken_off(tmp_path: Path) -> None:
    """Two stamps of one instant written in two zones are due together (Azure's 2024 layout has
    zones).
    """
    path = write(
        tmp_path / "a.csv",
        AZURE + b"2024-05-10 00:00:00.009930+00:00,5,6\n2024-05-10T02:00:01.009930+02:00,7,8\n",
    )
    assert read_trace(source(path), 1).due_ns.tolist() == [0, S]


def test_burstgpt_leaves_failed_rows_out_and_counts_them(tmp_path: Path) -> None:
    """A row with 0 response tokens failed when recorded: not replayed, counted, and said."""
    path = write(
        tmp_path / "b.csv",
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log"
        " Type\n5,,1.2,ChatGPT,472,18,490,Conversation log\n45,,3,GPT-4,1087,0,1087,API"
        " log\n45.5,,2,GPT-4,7,230,237,API log\n",
    )
    trace = read_trace(source(path), 1)
    assert trace.due_ns.tolist() == [0, 40_500 * MS]
    assert trace.prompt_tokens.tolist() == [472, 7]
    assert (trace.rows_read, trace.rows_skipped) == (3, 1)
    assert any("1 of 3 rows" in note for note in trace.notes)


@pytest.mark.parametrize(
    ("unit", "stamps"),
    [
        ("s", ["0.25", "1.75"]),
        ("ms", ["250", "1750"]),
        ("us", ["250000", "1750000"]),
        ("ns", ["250000000", "1750000000"]),
        ("rfc3339", ["2026-01-01T00:00:00.25Z", "2026-01-01T00:00:01.75Z"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_named_columns_are_read_in_their_unit(
    tmp_path: Path, unit: str, stamps: list[str], kind: str
) -> None:
    """The generic mapping gives the same 1.5 s gap from any unit, in CSV and in JSON lines."""
    if kind == "csv":
        text = "a,when,in,out\n" + "".join(
            f"x,{stamp},{i + 3},{i + 4}\n" for i, stamp in enumerate(stamps)
        )
    else:
        values = stamps if unit == "rfc3339" else [float(stamp) for stamp in stamps]
        text = "".join(
            json.dumps({"when": at, "in": i + 3, "out": i + 4}) + "\n\n"
            for i, at in enumerate(values)
        )
    path = write(tmp_path / f"t.{kind}", text)
    trace = read_trace(
        source(
            path,
            format="columns",
            time_column="when",
            prompt_column="in",
            output_column="out",
            time_unit=unit,
        ),
        1,
    )
    assert trace.due_ns.tolist() == [0, 1_500 * MS]
    assert list(zip(trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True)) == [
        (3, 4),
        (4, 5),
    ]


def test_rows_out_of_order_are_sorted_with_their_sizes(tmp_path: Path) -> None:
    """Rows are replayed in time order, each with its own sizes, and a note says the file
    was not.
    """
    trace = read_trace(source(mooncake(tmp_path / "m.jsonl", [700, 0, 300])), 1)
    assert trace.due_ns.tolist() == [0, 300 * MS, 700 * MS]
    assert trace.prompt_tokens.tolist() == [11, 12, 10]
    assert any("not in time order" in note for note in trace.notes)


def test_window_is_cut_before_speed(tmp_path: Path) -> None:
    """[start, end) is in recorded time; what is left begins at 0 and runs `speed` times as fast."""
    path = mooncake(tmp_path / "m.jsonl", [0, 1000, 1900, 2500, 4000])
    trace = read_trace(source(path, start="1s", end="4s", speed="3x"), 1)
    assert trace.due_ns.tolist() == [0, 300 * MS, 500 * MS]
    assert trace.prompt_tokens.tolist() == [11, 12, 13]
    assert trace.rows_read == 5
    assert "3 of 5 requests" in trace.notes[0]
    assert "3 times" in trace.notes[0]


def wobbling_grid(rows: int, seed: int) -> list[int]:
    """Uniform arrivals rounded down to steps of 3 s, the steps themselves off by up to 3 ms."""
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.integers(0, rows // 10, rows))
    wobble = rng.integers(-1, 4, rows)
    return [int(3000 * step + (wobble[step] if step else 0)) for step in steps]


def test_coarse_grid_is_spread_uniformly(tmp_path: Path) -> None:
    """Rows on a 3 s grid land uniformly in their step (KS against theory), each within its own
    step.
    """
    stamps = wobbling_grid(4000, 3)
    path = mooncake(tmp_path / "m.jsonl", stamps)
    trace = read_trace(source(path), 5)
    raw = np.empty(4000)
    raw[trace.prompt_tokens - 10] = trace.due_ns
    offsets = (raw - np.array(stamps) * MS) / (3000 * MS)
    offsets -= offsets.min()  # due times begin at the first row, not at the first step
    assert offsets.max() < 1.002
    assert stats.kstest(offsets, "uniform").pvalue > 0.01
    assert any("spread uniformly" in note and "3 s" in note for note in trace.notes)
    # Uniform within steps filled at random is Poisson: counts per second have variance = mean.
    counts = np.bincount((trace.due_ns // S).astype(int))
    assert 0.8 < counts.var() / counts.mean() < 1.2


def test_jitter_none_replays_the_recording(tmp_path: Path) -> None:
    """With jitter off the coarse times stand as recorded, and the note says so."""
    stamps = wobbling_grid(400, 3)
    trace = read_trace(source(mooncake(tmp_path / "m.jsonl", stamps), jitter="none"), 5)
    assert trace.due_ns.tolist() == [(at - stamps[0]) * MS for at in stamps]
    assert any("as recorded" in note for note in trace.notes)


def test_same_seed_same_times_and_a_row_keeps_its_place_in_any_window(tmp_path: Path) -> None:
    """Jitter depends on seed and row alone: a window shows the same gaps as the whole trace."""
    path = mooncake(tmp_path / "m.jsonl", wobbling_grid(600, 1))
    whole, again, other = (read_trace(source(path), seed) for seed in (9, 9, 10))
    assert np.array_equal(whole.due_ns, again.due_ns)
    assert not np.array_equal(whole.due_ns, other.due_ns)
    part = read_trace(source(path, start="30s", end="90s"), 9)
    at = int(np.flatnonzero(whole.prompt_tokens == part.prompt_tokens[0])[0])
    expected = whole.due_ns[at : at + len(part.due_ns)] - whole.due_ns[at]
    assert np.array_equal(part.due_ns, expected)


def test_what_counts_as_a_grid() -> None:
    """Fine stamps, lone coarse stamps and irregular bursts are no grid; a sparse grid is."""
    rng = np.random.default_rng(2)
    fine = np.cumsum(rng.exponential(0.2 * S, 5000)).astype(np.int64)
    assert grid_step_ns(fine) is None
    assert (
        grid_step_ns(np.arange(0, 500 * S, S)) is None
    )  # one row a second: nobody shares an instant
    bursts = np.repeat(np.cumsum(rng.exponential(3 * S, 400)).astype(np.int64), 8)
    assert grid_step_ns(bursts) is None
    busy_seconds = fine // S * S  # 5/s in whole seconds: most share, and a few seconds are empty
    assert grid_step_ns(busy_seconds) == S
    assert grid_step_ns(np.zeros(50, np.int64)) is None


def test_spread_stays_inside_the_step() -> None:
    """A draw never reaches the next step, and every row moves by its own amount."""
    moved = spread(np.full(10_000, 7 * S), 3 * S, 4)
    assert moved.min() >= 7 * S
    assert moved.max() < 10 * S
    assert len(np.unique(moved)) > 9_900


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            AZURE + b"2023-11-16 18:17:03.9799600,12,3\r\n2023-11-16 18:17:04.1,x,3",
            ["line 3", "ContextTokens", "'x'"],
        ),
        (
            "a.csv",
            AZURE + b"2023-11-16 18:17:03.9799600,12,-3",
            ["line 2", "GeneratedTokens", "'-3'"],
        ),
        (
            "a.csv",
            AZURE + b"2023-11-16 18:17:03.9799600,12",
            ["line 2", "GeneratedTokens", "no value"],
        ),
        ("a.csv", AZURE + b"2023-11-16 18:17:03,12,3,4", ["line 2", "4 values for 3 columns"]),
        ("a.csv", AZURE + b"2023-02-30 18:17:03,12,3", ["line 2", "TIMESTAMP", "2023-02-30"]),
        ("a.csv", AZURE + b"9999-01-01 18:17:03,12,3", ["line 2", "TIMESTAMP", "century"]),
        ("a.csv", AZURE + b"soon,12,3", ["line 2", "TIMESTAMP", "'soon'"]),
        ("a.csv", AZURE + b"2023-11-16 18:17:03,12.5,3", ["line 2", "ContextTokens", "12.5"]),
        (
            "a.csv",
            AZURE + b"2023-11-16 18:17:03,99999999,3",
            ["line 2", "ContextTokens", "10,000,000"],
        ),
        (
            "m.jsonl",
            b'{"timestamp": 0, "input_length": 5, "output_length": 6}\n{"timestamp": ',
            ["line 2", "JSON"],
        ),
        (
            "m.jsonl",
            b'{"timestamp": 0, "input_length": 5, "output_length": 6}\n[1, 2]',
            ["line 2", "object"],
        ),
        (
            "m.jsonl",
            (
                b'{"timestamp": 0, "input_length": 5, "output_length": 6}\n{"timestamp": 1,'
                b' "input_length": 5}'
            ),
            ["line 2", "output_length"],
        ),
        (
            "m.jsonl",
            b'{"timestamp": NaN, "input_length": 5, "output_length": 6}',
            ["line 1", "timestamp"],
        ),
        (
            "m.jsonl",
            b'{"timestamp": 1e400, "input_length": 5, "output_length": 6}',
            ["line 1", "timestamp"],
        ),
        *(
            (
                "m.jsonl",
                b'{"timestamp": 1, "input_length": %b, "output_length": 6}' % number,
                ["line 1", "input_length", "number of tokens"],
            )
            for number in (b"1e308", b"-1e308", b"1e-308", b"NaN", b"-Infinity", b"5.5", b"-1")
        ),
        (
            "m.jsonl",
            b'{"timestamp": 1, "input_length": true, "output_length": 6}',
            ["line 1", "input_length"],
        ),
        (
            "m.jsonl",
            b'{"timestamp": "x", "input_length": 1, "output_length": 6}',
            ["line 1", "timestamp", "rfc3339"],
        ),
    ],
)
def test_first_bad_line_is_named(
    tmp_path: Path, name: str, content: bytes, said: list[str]
) -> None:
    """A line that cannot be read stops the run with file, line, column and what to do."""
    text = message(write(tmp_path / name, content))
    assert name in text
    assert "; " in text
    for part in said:
        assert part in text


def test_files_that_are_no_trace_say_why(tmp_path: Path) -> None:
    """Missing file, LFS pointer, unknown layout, no rows, binary and wrong format each get a
    remedy.
    """
    assert "cannot be read" in message(tmp_path / "none.csv")
    assert "git lfs pull" in message(
        write(tmp_path / "l.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    )
    unknown = message(write(tmp_path / "u.csv", "a,b\n1,2\n"))
    assert "a, b" in unknown
    assert "time_column" in unknown
    assert "no rows" in message(write(tmp_path / "e.csv", AZURE))
    assert "0 tokens" in message(write(tmp_path / "z.csv", AZURE + b"2023-11-16 18:17:03,12,0\n"))
    assert "not UTF-8" in message(write(tmp_path / "g.csv.gz", b"\x1f\x8b\x08\x00\xff\xfe"))
    assert "no column 'timestamp'" in message(write(tmp_path / "w.csv", AZURE), format="mooncake")
    assert "is not known" in message(write(tmp_path / "empty.csv", ""))


def test_empty_selection_says_how_long_the_trace_is(tmp_path: Path) -> None:
    """A start beyond the last row is refused with the trace's length."""
    text = message(mooncake(tmp_path / "m.jsonl", [0, 1000, 25_000]), start="1h")
    assert "25 s" in text
    assert "1 h" in text


def test_speed_that_never_ends_is_refused(tmp_path: Path) -> None:
    """A speed so low that due times would overflow is the user's error, not a traceback."""
    assert "speed" in message(mooncake(tmp_path / "m.jsonl", [0, 10**9]), speed="0.000001x")


@needs_shared
@pytest.mark.parametrize("name", ["azure_llm_2023_code", "azure_llm_2023_conv"])
def test_azure_excerpts_match_the_published_facts(name: str) -> None:
    """Row count, span and quantiles of the whole Azure files equal the table made from the
    sources.
    """
    path = SHARED / f"{name}.csv"
    facts = json.loads((SHARED / "quantiles.json").read_text())["traces"][name.replace("_llm_", "")]
    trace = read_trace(source(path), 1)
    assert len(trace.due_ns) == facts["rows"] == trace.rows_read
    assert trace.due_ns[-1] / S == pytest.approx(facts["arrivals"]["duration_s"], abs=1e-5)
    for side, tokens in (("input", trace.prompt_tokens), ("output", trace.output_tokens)):
        for percent, value in facts[f"{side}_tokens"]["quantiles"].items():
            assert np.percentile(tokens, float(percent)) == pytest.approx(value)
    with path.open(newline="") as handle:
        stamps = [row["TIMESTAMP"] for row in csv.DictReader(handle)]
    for row in (0, 1, 1000, len(stamps) - 1):
        since = datetime.fromisoformat(stamps[row][:26]) - datetime.fromisoformat(stamps[0][:26])
        assert trace.due_ns[row] == pytest.approx(since.total_seconds() * S, abs=2_000)
    gaps = np.diff(trace.due_ns)
    assert gaps.std() / gaps.mean() == pytest.approx(facts["arrivals"]["iat_cv"], rel=1e-3)
    assert len(trace.notes) == 1


@needs_shared
def test_mooncake_conversation_loses_its_false_bursts() -> None:
    """The 3 s grid is found and spread: dispersion of counts per second falls from its artefact to
    near 1.
    """
    path = SHARED / "mooncake_fast25_conversation.jsonl"
    raw, auto = read_trace(source(path, jitter="none"), 3), read_trace(source(path), 3)

    def dispersion(due: np.ndarray) -> float:
        counts = np.bincount((due // S).astype(int))
        return float(counts.var() / counts.mean())

    assert len(raw.due_ns) == len(auto.due_ns) == 5980
    assert math.isclose(raw.prompt_tokens.sum(), auto.prompt_tokens.sum())
    assert dispersion(raw.due_ns) > 5
    assert dispersion(auto.due_ns) < 2
    instants = np.unique(raw.due_ns)
    phase = auto.due_ns + instants[0]
    within = (phase - instants[np.searchsorted(instants, phase, side="right") - 1]) / (3000 * MS)
    assert stats.kstest(np.clip(within, 0, 1), "uniform").pvalue > 0.001
    synthetic = read_trace(source(SHARED / "mooncake_fast25_synthetic.jsonl"), 3)
    assert len(synthetic.notes) == 1  # millisecond stamps are fine enough: nothing is moved


NAMES = ("timestamp", "input_length", "output_length")


def rows_of(stamps: list[object]) -> list[dict[str, object]]:
    return [dict(zip(NAMES, (at, 5 + i, 6), strict=True)) for i, at in enumerate(stamps)]


@pytest.mark.parametrize(
    "stamps",
    [
        [0, 1500],
        [1_790_812_800, 1_790_812_801.5],
        [1_790_812_800_000, 1_790_812_801_500],
        [1_790_812_800_000_000, 1_790_812_801_500_000],
        [1_790_812_800_000_000_000, 1_790_812_801_500_000_000],
        ["1790812800000", "1790812801500"],
        ["2026-10-01T00:00:00Z", "2026-10-01T00:00:01.5Z"],
        ["2026-10-01 00:00:00", "2026-10-01 00:00:01.500"],
    ],
)
def test_times_say_their_unit_themselves(tmp_path: Path, stamps: list[object]) -> None:
    """Dates, and numbers of the size of Unix times; small whole ones are the layout's ms."""
    text = "\n".join(json.dumps(row) for row in rows_of(stamps))
    assert read_trace(source(write(tmp_path / "t.jsonl", text)), 1).due_ns.tolist() == [
        0,
        1500 * MS,
    ]


@pytest.mark.parametrize("stamps", [[0.0, 0.4, 0.8], ["0", "1.25"], list(range(20))])
def test_a_unit_that_is_not_said_is_asked_for(tmp_path: Path, stamps: list[object]) -> None:
    """Another tool's rows under Mooncake's names may be seconds; said, they are read."""
    path = write(tmp_path / "t.jsonl", "\n".join(json.dumps(row) for row in rows_of(stamps)))
    assert "time_unit" in message(path)
    due = read_trace(source(path, time_unit="s"), 1).due_ns
    assert due[-1] == float(str(stamps[-1])) * S


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(rows_of([0, 1500])),
        json.dumps(rows_of([0, 1500]), indent=2),
        "\n".join(json.dumps(row, indent=1) for row in rows_of([0, 1500])),
        "timestamp;input_length;output_length\r\n0;5;6\r\n1500;6;6\r\n",
        "sep=;\r\ntimestamp;input_length;output_length\r\n0,0;5;6\r\n1500,0;6,0;6\r\n;;\r\n",
        "timestamp\tinput_length\toutput_length\n0\t5\t6\n1500\t6\t6\n",
        '"timestamp";"input_length";"output_length";\n"0";"5";"6";\n"1500";"6";"6";\n',
    ],
)
def test_traces_as_tools_and_spreadsheets_save_them(tmp_path: Path, text: str) -> None:
    """Arrays, indented objects, semicolons, tabs, decimal commas, a separator line, empty rows."""
    trace = read_trace(source(write(tmp_path / "t.txt", text)), 1)
    assert (trace.due_ns.tolist(), trace.prompt_tokens.tolist()) == ([0, 1500 * MS], [5, 6])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("timestamp,a\n".encode("utf-16"), "iconv -f UTF-16"),
        ("timestamp,a\nZo\xeb".encode("latin-1"), "not UTF-8"),
        (b"PAR1", "Parquet"),
        (b"PK\x03\x04", "Excel"),
        (b"BZh9", "bunzip2"),
        (json.dumps({"data": rows_of([0])}).encode(), "jq -c '.data[]'"),
        (b'{"resourceSpans": []}', "OTLP"),
        (json.dumps(rows_of([0, 1]))[:-5].encode(), "object 2 is not JSON"),
        (b"[1, 2]", "object 1"),
        (b"2023-11-16 18:17:03,12,3\n", "has no header line"),
        (b"TIMESTAMP;ContextTokens;GeneratedTokens\n2023-11-16 18:17:03;1.024;3\n", "'1.024'"),
    ],
)
def test_what_is_no_trace_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """With the command that makes one of it."""
    assert said in message(write(tmp_path / "t.txt", content))
