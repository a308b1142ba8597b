"""An HTTP parser as lenient as the clients that users have.

In: who gets its callbacks. Out: a parser of responses. Must stay true: no leniency moves the end of
an answer (docs/dev/clients.md).
"""

from __future__ import annotations

from typing import Any

import httptools


def response_parser(receiver: object) -> Any:
    """What curl and Go read too: spaces behind the size of a chunk, lines that end in LF alone, and
    bytes behind the last answer, which end the connection.
    """
    parser = httptools.HttpResponseParser(receiver)
    parser.set_dangerous_leniencies(
        lenient_spaces_after_chunk_size=True,
        lenient_optional_cr_before_lf=True,
        lenient_data_after_close=True,
    )
    return parser
