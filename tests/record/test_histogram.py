"""The fence round hdrhistogram: what goes in stays in, what comes out never flatters."""

from __future__ import annotations

import base64
import itertools
import json
import pickle
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import RunFolderError
from bench.record.histogram import (
    DIGITS,
    HIGHEST_US,
    LOWEST_US,
    Histogram,
    HistogramSet,
    Interval,
    read_hlog,
    write_hlog,
)

HOUR_NS = HIGHEST_US * 1000
WALL_NS = 1_760_000_000_123_456_789
VECTORS = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
needs_vectors = pytest.mark.skipif(
    not VECTORS.is_file(), reason="no ../shared/stats_reference.json"
)
#: from ns to four hours, every magnitude alike
LATENCY = st.integers(0, 43).flatmap(lambda bits: st.integers(2**bits - 1, 2 ** (bits + 1)))
LATENCIES = st.lists(LATENCY, max_size=80)
QUANTILE = st.sampled_from(
    [Fraction(n, d) for n, d in ((1, 2), (9, 10), (99, 100), (999, 1000), (1, 1), (1, 10**6))]
)


def histogram_of(values_ns: list[int]) -> Histogram:
    made = Histogram()
    made.record_many_ns(np.array(values_ns, dtype=np.int64))
    return made


def state(histogram: Histogram) -> tuple[object, ...]:
    return histogram.counts.tolist(), histogram.n, histogram.overflow, histogram.max_ns


@given(LATENCIES)
@settings(deadline=None)
def test_bulk_equals_single_equals_hdrhistogram(values: list[int]) -> None:
    """Recording an array, one by one, and by hdrhistogram's own record_value fill the same
    cells.
    """
    single, theirs = Histogram(), HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for value in values:
        single.record_ns(value)
        assert theirs.record_value(min(-(-value // 1000), HIGHEST_US))
    assert state(histogram_of(values)) == state(single)
    assert single.counts.tolist() == list(theirs.counts)
    assert (single.n, single.max_ns) == (len(values), max(values, default=0))


@given(LATENCIES, QUANTILE)
@settings(deadline=None)
def test_a_percentile_is_never_below_the_exact_one(values: list[int], q: Fraction) -> None:
    """It lies between the exact nearest-rank value and 0.1 % + 1 µs above it, and within the true
    maximum.
    """
    got = histogram_of(values).percentile_ns(q)
    if not values:
        assert got is None
        return
    exact = sorted(values)[-(-q.numerator * len(values) // q.denominator) - 1]
    assert got is not None
    assert exact <= got <= max(values)
    if exact <= HOUR_NS:
        assert got <= exact * 1.001 + 1000


@given(st.lists(LATENCIES, max_size=5), QUANTILE)
@settings(deadline=None)
def test_merging_is_recording_together(parts: list[list[int]], q: Fraction) -> None:
    """Sets that are added hold exactly what one set would have recorded, tag by tag."""
    merged, together = HistogramSet(), HistogramSet()
    for index, part in enumerate(parts):
        worker = HistogramSet()
        for histograms in (worker, together):
            histograms[f"tag{index % 2}"].record_many_ns(np.array(part, dtype=np.int64))
        merged.add(worker)
    assert list(merged) == list(together)
    for tag in together:
        assert state(merged[tag]) == state(together[tag])
        assert merged[tag].percentile_ns(q) == together[tag].percentile_ns(q)
    assert merged.overflow == sum(value > HOUR_NS for part in parts for value in part)


def test_the_tail_above_an_hour_stays_in_the_ranks() -> None:
    """Three values over the range are counted, keep their ranks and give the true maximum."""
    values = [1_000_000] * 97 + [2 * HOUR_NS, 3 * HOUR_NS, HOUR_NS + 1]
    histogram = histogram_of(values)
    assert (histogram.n, histogram.overflow, histogram.max_ns) == (100, 3, 3 * HOUR_NS)
    assert histogram.percentile_ns(Fraction(97, 100)) == 1_000_000
    assert histogram.percentile_ns(Fraction(98, 100)) == 3 * HOUR_NS
    assert histogram_of([HOUR_NS]).overflow == 0


def test_a_negative_value_is_an_error_that_records_nothing() -> None:
    """One negative latency refuses the whole array, and floats are refused rather than cut."""
    histogram = Histogram()
    with pytest.raises(ValueError, match="-1 ns"):
        histogram.record_many_ns(np.array([5, -1, 7]))
    with pytest.raises(ValueError, match="-1 ns"):
        histogram.record_ns(-1)
    with pytest.raises(TypeError, match="whole ns"):
        histogram.record_many_ns(np.array([1.5]))
    assert state(histogram) == state(Histogram())


def test_nothing_recorded_is_none_not_zero() -> None:
    """An empty histogram has neither a percentile nor a mean; one recorded zero has both."""
    assert (Histogram().percentile_ns(Fraction(1, 2)), Histogram().mean_ns()) == (None, None)
    zero = histogram_of([0])
    assert (zero.percentile_ns(Fraction(1, 2)), zero.mean_ns()) == (0, 0)
    with pytest.raises(ValueError, match="no rank"):
        zero.percentile_ns(Fraction(0))


def test_the_rank_is_the_ceiling() -> None:
    """The p99 of 51 values is the 51st, where rounding half up would take the 50th."""
    assert (
        histogram_of([1_000_000 * value for value in range(1, 52)]).percentile_ns(Fraction(99, 100))
        == 51_000_000
    )


@given(st.lists(LATENCY.map(lambda value: min(value, HOUR_NS)), min_size=1, max_size=80))
@settings(deadline=None)
def test_the_mean_is_near_the_exact_one(values: list[int]) -> None:
    """The mean from the middles of the cells is within 0.05 % + 1 µs of the exact mean."""
    exact = sum(values) / len(values)
    assert histogram_of(values).mean_ns() == pytest.approx(exact, rel=0, abs=0.0005 * exact + 1000)


@needs_vectors
def test_quantisation_vectors() -> None:
    """Every example of three digits comes out at the highest value equivalent to it."""
    rows = json.loads(VECTORS.read_bytes())["hdr_quantisation"]["rows"]
    (row,) = (row for row in rows if row["significant_digits"] == DIGITS)
    for example in row["examples"]:
        histogram = histogram_of([example["value"] * 1000, HOUR_NS])
        assert histogram.percentile_ns(Fraction(1, 2)) == example["highest_equivalent"] * 1000


@needs_vectors
def test_merged_percentiles_vector() -> None:
    """Two workers' p99 of 10 and 1000 merge to the true 100, which no mean of the two is."""
    vector = json.loads(VECTORS.read_bytes())["merge_percentiles_vector"]
    a = histogram_of([10_000] * 9900 + [100_000] * 50 + [200_000] * 50)
    b = histogram_of([10_000] * 50 + [1_000_000] * 50)
    assert a.percentile_ns(Fraction(99, 100)) == vector["p99_A"] * 1000
    assert b.percentile_ns(Fraction(99, 100)) == vector["p99_B"] * 1000
    a.add(b)
    assert (a.n, a.percentile_ns(Fraction(99, 100))) == (vector["n"], vector["true_p99"] * 1000)


def test_a_histogram_crosses_processes() -> None:
    """Pickled and read again, a set of a worker is the same set."""
    histograms = HistogramSet()
    histograms["a"].record_many_ns(np.arange(0, 10**9, 10**6))
    again = pickle.loads(pickle.dumps(histograms))  # noqa: S301
    assert {tag: state(again[tag]) for tag in again} == {"a": state(histograms["a"])}


TAGS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
INTERVALS = st.lists(
    st.tuples(TAGS, st.integers(0, 10**15), st.integers(0, 10**13), LATENCIES).map(
        lambda drawn: Interval(drawn[0], drawn[1], drawn[1] + drawn[2], histogram_of(drawn[3]))
    ),
    max_size=4,
)


@given(INTERVALS, st.integers(0, 2**62))
@settings(deadline=None, max_examples=40)
def test_a_log_reads_back_to_the_nanosecond(
    tmp_path_factory: pytest.TempPathFactory, intervals: list[Interval], wall_ns: int
) -> None:
    """Tags of any text, times, maxima, overflow and counts survive, in order of start and tag."""
    path = tmp_path_factory.mktemp("hlog") / "histograms.hlog"
    write_hlog(path, intervals, wall_ns)
    start, read = read_hlog(path)
    expected = sorted(intervals, key=lambda interval: (interval.start_ns, interval.tag))
    assert start == wall_ns
    assert [(i.tag, i.start_ns, i.end_ns, state(i.histogram)) for i in read] == [
        (i.tag, i.start_ns, i.end_ns, state(i.histogram)) for i in expected
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "histograms.hlog"
    burst = histogram_of([1_000, 402_000_000, 2_000_000_000, 2 * HOUR_NS])
    empty = Interval("pro.response.ttft.steady", 0, 60_000_000_000, Histogram())
    write_hlog(
        path, [Interval("pro eu, 50%", 60_000_000_000, 90_500_000_001, burst), empty], WALL_NS
    )
    return path


def test_hdrhistograms_own_reader_reads_the_log(log: Path) -> None:
    """The library's reader finds both intervals with their tags, absolute times and counts."""
    reader = HistogramLogReader(str(log), HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS))
    steady, burst, end = (reader.get_next_interval_histogram() for _ in range(3))
    reader.close()
    assert end is None
    assert (steady.get_tag(), steady.get_total_count()) == ("pro.response.ttft.steady", 0)
    assert (burst.get_tag(), burst.get_total_count()) == ("pro%20eu%2C%2050%25", 4)
    assert burst.get_value_at_percentile(25) == 1
    assert burst.get_value_at_percentile(50) == pytest.approx(402_000, rel=0.001)
    assert burst.get_max_value() == pytest.approx(HIGHEST_US, rel=0.001)
    assert steady.get_start_time_stamp() == pytest.approx(WALL_NS / 1e6, abs=0.01)
    assert burst.get_end_time_stamp() == pytest.approx(WALL_NS / 1e6 + 90_500, abs=0.01)


def test_the_log_follows_the_format_by_hand(log: Path) -> None:
    """Comments say unit, tags, divisor and base time; every line has five fields in any reader's
    eyes.
    """
    lines = log.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert any("units = microseconds" in line for line in comments)
    assert any("Tag = target.view.metric.phase" in line for line in comments)
    assert "#[MaxValueDivisor: 1000.0]" in comments
    assert "#[Histogram log format version 1.3]" in comments
    assert (
        "#[StartTime: 1760000000.123456789 (seconds since epoch), 2025-10-09T08:53:20Z]" in comments
    )
    assert "#[BaseTime: 1760000000.123456789 (seconds since epoch)]" in comments
    assert "#[Overflow: 1 of the next interval were above 3600000000 us]" in comments
    body = [line for line in lines if not line.startswith("#")]
    assert (
        body[0]
        == '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    )
    fields = [line.replace(" ", ",").split(",") for line in body[1:]]
    assert [field[:4] for field in fields] == [
        ["Tag=pro.response.ttft.steady", "0.000000000", "60.000000000", "0.000000"],
        ["Tag=pro%20eu%2C%2050%25", "60.000000000", "30.500000001", "7200000.000000"],
    ]
    assert all(len(field) == 5 and field[4].startswith("HISTFAAA") for field in fields)


def test_the_payload_follows_the_v2_encoding_by_hand(log: Path) -> None:
    """Decoded by the published layout alone, the counts are one in each of four cells and zero
    elsewhere.
    """
    raw = base64.b64decode(log.read_text("utf-8").splitlines()[-1].rpartition(",")[2])
    assert struct.unpack(">II", raw[:8]) == (0x1C849314, len(raw) - 8)
    payload = zlib.decompress(raw[8:])
    cookie, length, offset, digits, lowest, highest, ratio = struct.unpack(">IIIIQQd", payload[:40])
    assert (cookie, offset, digits, lowest, highest, ratio) == (
        0x1C849313,
        0,
        3,
        1,
        HIGHEST_US,
        1.0,
    )
    assert length == len(payload) - 40
    cell, found, stream = 0, [], iter(payload[40:])
    for first_byte in stream:
        word = first_byte & 0x7F
        if first_byte & 0x80:
            for shift in itertools.count(7, 7):
                byte = next(stream)
                word |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
        value = (word >> 1) ^ -(word & 1)
        if value < 0:
            cell -= value
        else:
            found.append((cell, value))
            cell += 1
    # cells of 1, 402000, 2000000 and 3600000000 µs: below 2048 the value itself, above it
    # 1024 a doubling plus the value's leading eleven bits
    by_hand = [
        1,
        8 * 1024 + (402_000 >> 8),
        10 * 1024 + (2_000_000 >> 10),
        21 * 1024 + (HIGHEST_US >> 21),
    ]
    assert found == [(cell, 1) for cell in by_hand]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HISTFAAA", "HISTFAAB", "damaged"),
        ("HISTFAAA", "!", "damaged"),
        ("60.000000000,30", "sixty,30", "Tag="),
        ("7200000.0", "0.1", "contradicts"),
        ("Overflow: 1 ", "Overflow: 5 ", "contradicts"),
        ("[BaseTime", "[Other", "base time"),
    ],
)
def test_a_damaged_log_is_refused_with_its_line(
    log: Path, old: str, new: str, message: str
) -> None:
    """A log whose text was changed is an error that names the file, never a shorter tail."""
    log.write_text(log.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(RunFolderError, match=message) as caught:
        read_hlog(log)
    assert str(log) in str(caught.value)


def test_a_log_of_another_layout_is_refused(log: Path) -> None:
    """A histogram of two digits cannot be added to one of three, so it is not read as one."""
    other = HdrHistogram(LOWEST_US, HIGHEST_US, 2)
    other.record_value(7)
    head, _, _ = log.read_text("utf-8").rpartition(",")
    log.write_text(f"{head},{other.encode().decode()}\n", "utf-8")
    with pytest.raises(RunFolderError, match="another layout"):
        read_hlog(log)
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_hlog(log.with_name("missing.hlog"))


@pytest.mark.parametrize(("tag", "start", "end"), [("", 0, 1), ("a", -1, 1), ("a", 2, 1)])
def test_an_impossible_interval_writes_nothing(
    tmp_path: Path, tag: str, start: int, end: int
) -> None:
    """An empty tag, a start before the run or an end before the start is refused and no file
    appears.
    """
    with pytest.raises(ValueError, match="interval"):
        write_hlog(tmp_path / "x.hlog", [Interval(tag, start, end, Histogram())], WALL_NS)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.integers(0, 10**10), max_size=50), st.integers(1, 10**10))
def test_what_is_over_a_limit_is_counted_to_the_width_of_a_cell(
    values: list[int], limit: int
) -> None:
    """Never more than lie over the limit, and all that lie over it by more than a cell."""
    histogram = Histogram()
    for value in values:
        histogram.record_ns(value)
    cell = limit // 500 + 2_000
    over = histogram.above(limit)
    assert sum(value > limit + cell for value in values) <= over
    assert over <= sum(value > limit for value in values)
