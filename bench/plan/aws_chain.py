"""AWS's chain of credentials: profiles, SSO, roles of machines and of pods, commands.

In: what botocore (extra `aws`) finds in files, variables and the machine's metadata. Out: keys that
are valid now. Must stay true: temporary keys are asked for again before they expire, by a thread of
its own, so that no request waits for it; keys that cannot be renewed stay until they can.
"""

from __future__ import annotations

import threading
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError

from bench.api.auth import AwsKeys
from bench.plan import renewed

#: How often it is looked whether keys expire; botocore renews them 15 minutes before.
_LOOK_EVERY_S = 30.0
#: What botocore raises for a source that gives nothing, or something that is no key.
_FAILURES = (BotoCoreError, OSError, RuntimeError, ValueError, KeyError)


class KeyChain:
    """The first source that has keys, kept fresh."""

    def __init__(self) -> None:
        session = botocore.session.get_session()
        self.region: str | None = session.get_config_variable("region")
        self.current: AwsKeys | None = None
        #: why there are none, by the name of botocore's error: its text may hold a key
        self.failure = "NoCredentials"
        self._source: Any = None
        try:
            self._source = session.get_credentials()
            self.renew()
        except _FAILURES as error:
            self.failure = type(error).__name__
            return
        if hasattr(self._source, "refresh_needed"):
            threading.Thread(target=self._stay_fresh, name="aws-keys", daemon=True).start()

    def keys(self) -> AwsKeys:
        """Those that are valid now; costs nothing."""
        assert self.current is not None
        return self.current

    def renew(self) -> None:
        """Ask for keys again if they expire soon."""
        if self._source is not None:
            found = self._source.get_frozen_credentials()
            self.current = AwsKeys(found.access_key, found.secret_key, found.token or "")
            renewed.note(found.access_key, found.secret_key, found.token or "")

    def _stay_fresh(self) -> None:
        never = threading.Event()
        while not never.wait(_LOOK_EVERY_S):
            try:
                self.renew()
            except _FAILURES:
                continue  # the network may be back next time
