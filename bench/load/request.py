"""Bodies of chat completion requests: everything but the prompt is written before the run.

In: a target, the run's prompt text, a row of the schedule. Out: JSON bytes. Must stay true:
assembling costs a few memory copies and nothing per token; the user's extra body wins over our
defaults; a server that refuses an option it does not know gets the row once more without it.
"""

from __future__ import annotations

import json
from typing import Any

from bench.errors import UserError
from bench.plan.prompts import PromptText
from bench.plan.schedule import Lane, Table
from bench.userfile import expand_env

_MESSAGE = (b'{"role":"user","content":"', b'{"role":"assistant","content":"')


def _filled(value: Any, where: str) -> Any:
    """JSON with each `${ENV}` in its texts filled in. Raises UserError when one is not set."""
    if isinstance(value, str):
        return expand_env(value, where)
    if isinstance(value, dict):
        return {key: _filled(inner, where) for key, inner in value.items()}
    return [_filled(inner, where) for inner in value] if isinstance(value, list) else value


class BodyWriter:
    """Writes the bodies of one lane."""

    def __init__(self, lane: Lane, schedule: Table, text: PromptText):
        """Raises UserError when the extra body is not JSON."""
        target = lane.target
        self._lane, self._schedule, self._text = lane, schedule, text
        self._prefix_tokens = lane.profile.shared_prefix.tokens if lane.profile.shared_prefix else 0
        self._sessions = lane.profile.sessions is not None
        #: raised when an option is left out: a body written before may have been refused for it
        self.version = 0
        self.usage_option = (
            target.stream and target.include_usage
        ) or "stream_options" in target.extra_body
        self.max_field = target.max_tokens_field
        self._head = b'{"model":' + json.dumps(target.model).encode() + b',"messages":['
        self._write_tail()

    def _write_tail(self) -> None:
        target = self._lane.target
        options: dict[str, Any] = {"stream": target.stream}
        if target.stream and target.include_usage:
            options["stream_options"] = {"include_usage": True}
        extra = {**options, **_filled(target.extra_body, f"target {target.name}: extra_body")}
        if not self.usage_option:
            extra.pop("stream_options", None)
        try:
            tail = json.dumps(extra, allow_nan=False)[1:]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"is not JSON ({error})", where=f"target {target.name}: extra_body"
            ) from None
        self._tail = tail.encode()
        #: None: the extra body sets the length, the plan does not
        self._field = (
            None if self.max_field in target.extra_body else b'"%s":' % self.max_field.encode()
        )

    def drop_refused(self, message: str, version: int) -> bool:
        """The server refused a body of `version` and said `message`: leave out what it names.

        True when the next body would differ, so that the request deserves another try.
        """
        text = message.lower()
        if version < self.version:
            return True
        if self.usage_option and ("stream_options" in text or "include_usage" in text):
            self.usage_option = False
        elif self.max_field == "max_tokens" and "max_completion_tokens" in text:
            self.max_field = "max_completion_tokens"
        else:
            return False
        self.version += 1
        self._write_tail()
        return True

    def body(self, row: int) -> bytes:
        """The body of one row."""
        planned = self._schedule[row]
        length = (
            b"%s%d," % (self._field, planned["output_tokens"]) if self._field is not None else b""
        )
        return self._head + self._messages(row, planned) + b"]," + length + self._tail

    def _messages(self, row: int, planned: Any) -> bytes:
        if self._sessions:
            return self._conversation(row, planned)
        prompt = self._text.prompt(
            int(planned["body"]),
            int(planned["prompt_tokens"]),
            self._prefix_tokens,
            int(planned["prefix_group"]),
        )
        return _MESSAGE[0] + prompt + b'"}'

    def _conversation(self, row: int, planned: Any) -> bytes:
        """All turns up to this one: the user's texts and stand-ins for the answers."""
        turn = int(planned["turn"])
        rows = self._schedule[row - turn : row + 1]
        context = rows["prompt_tokens"].astype(int)
        answers = rows["output_tokens"].astype(int)
        user = [int(context[0])] + [
            int(context[k] - context[k - 1] - answers[k - 1]) for k in range(1, turn + 1)
        ]
        texts = self._text.turns(
            int(planned["body"]),
            list(zip(user, map(int, answers), strict=True)),
            self._prefix_tokens,
            int(planned["prefix_group"]),
        )
        return b",".join(_MESSAGE[index % 2] + text + b'"}' for index, text in enumerate(texts))
