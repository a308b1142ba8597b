"""Where a part of a run is sent from, and when it begins: `--shard`, `--start-at`, `--vantage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli.flags import parsed

if TYPE_CHECKING:
    from bench.load.shard import Shard


def shard_of(
    shard: str | None,
    start_at: str | None,
    vantage: str | None,
    repeat: int,
    *,
    early_stop: bool,
) -> Shard:
    """What `--shard`, `--start-at` and `--vantage` ask for.

    Raises UserError for what no part of a run can do alone.
    """
    from bench.errors import UserError
    from bench.load.shard import Shard, parse_instant, parse_shard, parse_vantage

    if (shard or start_at) and repeat > 1:
        raise UserError(
            "does not go with --repeat",
            where="--shard" if shard else "--start-at",
            remedy="leave one of them out",
        )
    if shard and early_stop:
        raise UserError(
            "does not go with --early-stop: a shard alone decides no clause",
            where="--shard",
            remedy="leave one of them out",
        )
    if vantage and not shard:
        raise UserError(
            "says where a shard is sent from, and this run is no shard",
            where="--vantage",
            remedy="add --shard I/N",
        )
    number, of = parsed("--shard", parse_shard, shard) or (1, 1)
    return Shard(
        number,
        of,
        parsed("--start-at", parse_instant, start_at),
        parsed("--vantage", parse_vantage, vantage),
    )
