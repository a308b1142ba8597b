"""The light colours of the page's graphics, by the name of the variable in report.css.

In: nothing. Out: `PALETTE`. Must stay true: a mark carries its light colour as an attribute and a
class beside it, for a printed page styles nothing inside an SVG and a dark one restyles by class.
"""

from __future__ import annotations

from collections.abc import Mapping

PALETTE: Mapping[str, str] = {
    "paper": "#fff",
    "ink": "#16191d",
    "soft": "#525a64",
    "faint": "#8a939d",
    "rule": "#d8dde3",
    "band": "#f3f5f7",
    "zone": "#fbeeea",
    "peer": "#c3cad2",
    "pass": "#006b52",
    "fail": "#b92a12",
    "inc": "#5b4b9e",
    "inv": "#16191d",
    "rep": "#5b6470",
    "h0": "#e6eaee",
    "h1": "#c9d2db",
    "h2": "#ea9a80",
    "h3": "#cf5535",
    "h4": "#861a06",
    "s1": "#2f4358",
    "s2": "#5b8fc7",
    "s3": "#b8c7d6",
    "s4": "#7d8a97",
    "s5": "#b9811a",
}
