"""Keys that are renewed while a run is under way: all that came, so that no text is kept with one,
and the key that a command prints, asked for again before it expires.

In: each key that a source of credentials renewed; the command of a target, and how long its keys
are good for where the user says so. Out: all keys, in order; the key that is valid now. Must stay
true: the list only grows, in this process; whoever asks gets a key at once, for a thread asks the
command; a command that gives nothing leaves the key before in use; no message holds any of it.
"""

from __future__ import annotations

import base64
import functools
import json
import subprocess
import threading
from collections.abc import Callable

from bench.clock import monotonic_ns, wall_ns
from bench.errors import UserError
from bench.units import S

#: For `Redaction`, which knows how many it has taken in.
SEEN: list[str] = []


def note(*secrets: str) -> None:
    """Remember what has to stay out of texts from now on."""
    SEEN.extend(text for text in secrets if text and text not in SEEN)


#: A keyring may ask its owner: the command has this long.
_COMMAND_S = 60
#: A token that says when it ends is replaced so long before: a tenth of its life, within these.
_AHEAD_LEAST_NS, _AHEAD_MOST_NS = 5 * S, 300 * S
#: A command that printed the same key again, or none, is asked again after this, and twice as long
#: each time.
_FIRST_BACK_OFF_NS, _LONGEST_BACK_OFF_NS = 2 * S, 300 * S


def printed_by(command: tuple[str, ...], where: str) -> str:
    """What a command prints. Raises UserError about `where`."""
    try:
        done = subprocess.run(  # noqa: S603 the user's own
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            check=True,
        )
        text = done.stdout.decode("utf-8").strip()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # its output may hold the key, and so may an error that repeats it
        if isinstance(error, subprocess.CalledProcessError):
            why = f"exit code {error.returncode}"
        else:
            why = type(error).__name__
        raise UserError(
            f"{command[0]} gave no key ({why})",
            where=where,
            remedy="run it by hand",
        ) from None
    if not text:
        raise UserError(f"{command[0]} is empty", where=where)
    return text


def expires_ns(token: str) -> int | None:
    """Unix time at which a JSON web token ends (RFC 7519, `exp`); None for any other key."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return int(float(claims["exp"]) * S)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


class CommandKey:
    """The key of one command in this process."""

    def __init__(
        self,
        ask: Callable[[], str],
        refresh_ns: int | None = None,
        *,
        wall: Callable[[], int] = wall_ns,
        clock: Callable[[], int] = monotonic_ns,
    ):
        """`ask` runs the command. `refresh_ns`: ask again after this; else the key says when it
        ends, or nobody knows. Raises what `ask` raises when there is no first key.
        """
        self._ask, self._refresh_ns, self._wall, self._clock = ask, refresh_ns, wall, clock
        self.text = ask()
        self._got_ns, self._got_wall_ns = clock(), wall()
        self._back_off_ns = 0
        self._refused = threading.Event()

    def keep(self) -> None:
        """Have a thread ask again in time, and when the key was refused."""
        threading.Thread(target=self._keep, name="key command", daemon=True).start()

    def refused(self, sent_ns: int) -> None:
        """A server did not accept the key of a request that was sent at `sent_ns` (monotonic): ask
        again, unless another key has come since.
        """
        if sent_ns > self._got_ns:
            self._refused.set()

    def wait_ns(self) -> int | None:
        """How long until the command should be asked; None: not before a key is refused."""
        if self._refresh_ns is not None:
            return max(self._got_ns + self._refresh_ns - self._clock(), self._back_off_ns)
        end_ns = expires_ns(self.text)
        if end_ns is None:
            return None
        life_ns = end_ns - self._got_wall_ns
        ahead_ns = min(max(life_ns // 10, _AHEAD_LEAST_NS), _AHEAD_MOST_NS)
        return max(end_ns - ahead_ns - self._wall(), self._back_off_ns)

    def renew(self) -> None:
        """Ask for the next key."""
        try:
            text = self._ask()
        except UserError:
            text = self.text
        if text == self.text:
            longer_ns = min(2 * self._back_off_ns, _LONGEST_BACK_OFF_NS)
            self._back_off_ns = max(longer_ns, _FIRST_BACK_OFF_NS)
            return
        note(text)
        self.text, self._back_off_ns = text, 0
        self._got_ns, self._got_wall_ns = self._clock(), self._wall()
        self._refused.clear()  # by whoever was sent with the key before

    def _keep(self) -> None:
        pause = threading.Event()
        while True:
            wait_ns = self.wait_ns()
            self._refused.wait(None if wait_ns is None else wait_ns / S)
            if self._refused.is_set() and self._back_off_ns:
                pause.wait(self._back_off_ns / S)
            self._refused.clear()
            self.renew()


@functools.cache
def command_key(
    command: tuple[str, ...],
    refresh_ns: int | None,
    where: str,
    checked: Callable[[str, str, str], str],
) -> CommandKey:
    """The key of this command in this process; `checked` refuses what no header can hold.

    Raises UserError about `where`.
    """

    def ask() -> str:
        return checked(printed_by(command, where), command[0], where)

    key = CommandKey(ask, refresh_ns)
    key.keep()
    return key
