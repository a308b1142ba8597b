"""`tailproof calibrate`: the harness's own error on this machine, and its ceiling."""

from __future__ import annotations

import click


@click.command(short_help="Measure this machine's own timing error and ceiling.")
@click.option("--tokens", default=16, show_default=True, type=click.IntRange(1, 4096), help="Token chunks a stream.")
@click.option("--seconds", default=4.0, show_default=True, type=click.FloatRange(1, 60), help="Length of each step.")
@click.option("--max-rate", type=click.IntRange(100), help="Climb no higher than this many requests a second.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def calibrate(tokens: int, seconds: float, max_rate: int | None, form: str) -> int:
    """Send rising rates to a null server whose true times are known, and print how far off we are.

    The result is kept, and later runs say what share of this machine's ceiling they used.
    """
    import json

    from bench.load.calibrate import LADDER_RPS, Step
    from bench.load.calibrate import calibrate as measure
    from bench.load.ceiling import store

    text = form == "text"
    if text:
        click.echo(
            "   asked     sent   TTFT error ms  p50   p99   p99.9   e2e error ms  p50   p99   p99.9   rows p99   lag p99   CPU/request"
        )

    def show(step: Step) -> None:
        ttft, e2e = (
            "  ".join(f"{value:+7.3f}" for value in values) for values in (step.ttft_error_ms, step.e2e_error_ms)
        )
        mark = "" if step.within_budget else "   over 1 ms"
        click.echo(f"{step.rate_rps:6d}/s {step.sent_rps:6.0f}/s   {ttft}     {e2e}   {step.row_error_p99_ms:8.3f}  {step.lag_p99_ms:8.3f}   "
                   f"{step.cpu_us_per_request:6.0f} µs{mark}")  # fmt: skip

    ladder = tuple(rate for rate in LADDER_RPS if max_rate is None or rate <= max_rate)
    record = measure(show if text else lambda _: None, tokens=tokens, seconds=seconds, ladder=ladder)
    kept = store(record)
    if not text:
        click.echo(json.dumps({**record, "file": str(kept)}, indent=2))
        return 0
    click.echo(f"ceiling  {record['ceiling_rps']:,} requests/s, {record['ceiling_events_per_s']:,} token events/s a worker with "
               f"p50 and p99 within {record['error_budget_ms']:g} ms of the truth")  # fmt: skip
    if record["steps"] and record["ceiling_rps"] == record["steps"][-1]["rate_rps"]:
        click.echo("         the ladder ended before the error did: the true ceiling is higher")
    click.echo(f"kept in  {kept}")
    return 0
