"""What an endpoint's tokens cost, by the user's word.

In: the table `prices` of a target. Out: a frozen `Prices`. Must stay true: a price stands with the
day on which it was read and with its source.
"""

from __future__ import annotations

from datetime import date

from bench.userfile import Usd, UserModel


class Prices(UserModel):
    """USD per million tokens, with the date on which they were read."""

    #: USD for a million prompt tokens
    input_usd_per_million: Usd
    #: USD for a million output tokens
    output_usd_per_million: Usd
    #: the day on which the prices were read
    as_of: date
    #: where they were read
    source: str
