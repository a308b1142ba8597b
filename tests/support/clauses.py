"""A clause of each kind, as a contract's file would have it.

In: nothing. Out: `WRITTEN`, by the name of the kind. Must stay true: every kind is there and allows
1 %.
"""

from __future__ import annotations

from typing import Any

WRITTEN: dict[str, dict[str, Any]] = {
    "quantile": {"metric": "ttft", "quantile": "99%", "limit": "1s"},
    "share_of_requests": {
        "metric": "e2e",
        "statistic": "share_of_requests",
        "share": "99%",
        "limit": "1s",
    },
    "share_of_windows": {
        "metric": "output_tps",
        "statistic": "share_of_windows",
        "share": "99%",
        "at_least": "50/s",
        "window": "5min",
    },
    "request_ratio": {"metric": "uptime", "share": "99%"},
    "mean_of_intervals": {
        "metric": "uptime",
        "method": "mean_of_intervals",
        "share": "99%",
        "window": "5min",
    },
    "downtime_minutes": {
        "metric": "uptime",
        "method": "downtime_minutes",
        "share": "99%",
        "error_rate": "5%",
        "minutes": 2,
    },
    "minute_all_fail": {"metric": "uptime", "method": "minute_all_fail", "share": "99%"},
    "slice_ok": {
        "metric": "uptime",
        "method": "slice_ok",
        "share": "99%",
        "window": "5min",
        "slice_share": "95%",
    },
    "error_share": {"metric": "error_share", "share": "1%"},
    "answer_ok": {"metric": "answer_ok", "share": "99%"},
}
