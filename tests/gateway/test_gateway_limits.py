"""Token buckets by hand, on moments that the test makes up."""

from __future__ import annotations

from bench.gateway.keys import MAX_KEYS, RateLimit, TokenBuckets
from bench.units import S


def test_fifty_a_minute_by_hand() -> None:
    """50/min is one each 1.2 s: with burst 2, two at once pass, and the third after 1.2 s."""
    buckets = TokenBuckets(RateLimit(requests_per_min=50, burst=2))
    seen = [buckets.take("k", round(t * S)) for t in (0, 0, 0, 1.1, 1.2, 1.2, 3.6, 3.6, 3.6)]
    assert [one.allowed for one in seen] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert [one.remaining for one in seen] == [1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert [round(one.retry_after_ns / S, 6) for one in seen] == [
        0,
        1.2,
        1.2,
        0.1,
        1.2,
        1.2,
        0,
        1.2,
        1.2,
    ]
    assert seen[0].limit == 50


def test_offered_120_a_minute_70_are_refused() -> None:
    """In an hour at a steady 120/min against 50/min, 50 of each 120 pass (one more: the full
    bucket).
    """
    buckets = TokenBuckets(RateLimit(requests_per_min=50, burst=2))
    passed = sum(buckets.take("k", index * S // 2).allowed for index in range(60 * 120))
    assert passed == 60 * 50 + 1


def test_a_bucket_of_one_saves_nothing() -> None:
    """With burst 1 a steady 120/min finds room each third time only: 40 a minute, not 50."""
    buckets = TokenBuckets(RateLimit(requests_per_min=50, burst=1))
    passed = [buckets.take("k", index * S // 2).allowed for index in range(9)]
    assert passed == [True, False, False] * 3


def test_keys_do_not_share() -> None:
    """What one key uses up, another still has."""
    buckets = TokenBuckets(RateLimit(requests_per_min=1))
    assert [buckets.take(key, 0).allowed for key in "aab"] == [True, False, True]


def test_memory_is_bounded() -> None:
    """The longest unused key is forgotten first, the others are not."""
    buckets = TokenBuckets(RateLimit(requests_per_min=1))
    for key in range(MAX_KEYS + 1):
        assert buckets.take(str(key), 0).allowed
    assert not buckets.take("1", 0).allowed
    assert buckets.take("0", 0).allowed
