"""What a command says when it is done: the verdict first, the next command last.

In: nothing; the screens fill it. Out: three stretches of nodes. Must stay true: the verdict and the
commands are always shown; what is between them is cut where a window would scroll, and the cut is
said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.show.document import Node

#: Lines of the smallest window that a result is shown in whole, but the one of the next prompt.
MOST_LINES = 23


@dataclass(frozen=True)
class Result:
    """One screen, in the order in which it is read."""

    #: the verdict and the sentence with its cause
    lead: Sequence[Node]
    #: the tables; what does not fit stands behind `--full`
    body: Sequence[Node] = ()
    #: facts of one line, paths and commands
    foot: Sequence[Node] = ()

    @property
    def nodes(self) -> list[Node]:
        """All of them, without the lines between."""
        return [*self.lead, *self.body, *self.foot]
