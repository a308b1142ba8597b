"""What uptime means by each definition, when a period was down, what is due: records by hand."""

from __future__ import annotations

import itertools
import re

from bench.record.records.census import Episodes
from bench.show.document import Document, Table
from bench.show.graphics.box import Box
from bench.show.graphics.outages import Outages, Spell
from bench.show.graphics.track import place
from bench.show.outages import period_picture
from bench.show.render_html import html_page
from bench.show.uptime import uptime_section
from tests.support.made_months import BROKEN, PERIOD, log_of


def test_each_definition_is_a_row_and_the_contracts_own_is_marked() -> None:
    """The broken clause by its own words, who calls it kept, and how many times the allowed loss
    each has: 3 of 10,000 lost where 10 may is 0.3, 15 is 1.5.
    """
    section = uptime_section({"log": log_of(PERIOD)})
    assert section is not None
    assert section.answer == (
        "99.97 % of requests were answered. By the contract's own definition September 2026 had"
        " 99.85 % (99.8 – 99.85 %) uptime where 99.9 % was promised: 65 of 43,200 minutes were bad,"
        " 43 may be. 1 of 3 definitions call it kept."
    )
    rows = section.of(Table)[0].grid("markdown").rows
    assert rows == [
        ["never known", "", "open", "–", "–"],
        ["request ratio", "Azure transactions", "kept", "99.97 %", "0.3"],
        ["by <b>minutes", "this contract", "broken", "99.85 %", "1.5"],
    ]
    page = html_page(Document("r", "t", "FAIL", sections=[section]))
    assert "by &lt;b&gt;minutes" in page
    assert "the &lt;log&gt;" in page
    # what the log leaves open has a line: from 1.5 to 2 times; the exact one has none to speak of
    lines = re.findall(r'<i class="w (\w+)" style="left:([\d.]+)%;width:([\d.]+)%">', page)
    assert lines == [
        ("pass", str(place(0.3)), "0.6"),
        ("fail", str(place(1.5)), f"{place(2.0) - place(1.5):.4g}"),
    ]


def test_what_is_due_stands_in_a_box() -> None:
    """The step, the sum, the days, the evidence and how many requests show it."""
    section = uptime_section({"log": log_of(PERIOD)})
    assert section is not None
    (box,) = section.of(Box)
    assert box.first == ("Credit due: 10 % of the monthly bill = 120.00 USD; claim within 30 days.")
    assert box.then == [
        "Evidence wanted: the <log>.",
        "162 requests show it; census.json lists them.",
    ]


def test_outages_lie_where_they_were_in_the_period() -> None:
    """Of 30 days: the 16th, 02:00, is 15 days and 2 hours in; the worst is named in words."""
    picture = period_picture(PERIOD)
    assert picture is not None
    assert [round(30 * 24 * 60 * spell.start) for spell in picture.spells] == [
        15 * 24 * 60 + 120,
        120,
    ]
    assert picture.spells[0].name == "16 Sep 02:00, 30 min"
    assert picture.says.endswith(
        "the worst 16 Sep 02:00 – 02:30, 30 minutes, 90 of 100 requests lost"
    )
    assert picture.ends == ("1 Sep", "30 Sep")
    calm = BROKEN.replace(episodes=Episodes(count=0, first=[]))
    assert period_picture(PERIOD.replace(clauses=[calm])) is None


def test_a_month_of_thousands_of_outages_stays_small() -> None:
    """Those too close to be told apart are one mark; no two names lie upon one another."""
    spells = [Spell(at / 2000, at / 2000 + 0.0002, f"outage {at}") for at in range(2000)]
    markup = Outages(spells, ("1 Sep", "30 Sep"), "says").markup()
    assert len(markup) < 8_000
    assert markup.count('<i style="') < 500
    named = [
        (float(at), len(name))
        for at, name in re.findall(r'class="tv" style="left:([\d.]+)%">([^<]*)', markup)
    ]
    assert 1 < len(named) < 20
    named.sort()
    for (at, long), (later, longer) in itertools.pairwise(named):
        assert later - at >= 0.62 * (long + longer) / 2 - 0.01


def test_nothing_that_a_log_can_show_is_said_so_and_no_log_is_no_section() -> None:
    """A contract whose clauses are only reported; a suite without logs."""
    reported = PERIOD.replace(
        clauses=[BROKEN.replace(verdict="REPORTED")], overall="NONE", credit=None
    )
    section = uptime_section({"log": log_of(reported)})
    assert section is not None
    assert section.answer == "September 2026: the contract promises nothing that a log can show."
    assert section.of(Table) == []
    assert uptime_section({}) is None
