"""Requests in one API's shape, read as plain conversations and written in another's.

In: a body as the user wrote it. Out: the API that it is of; the same request for another API. Must
stay true: what is turned means exactly the same, in texts, order, settings and length; what has no
exact counterpart is a ValueError with a sentence, never a request of another meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]

#: Keys that name what a body asks, by API: ours to leave alone.
PROMPT_KEYS: Mapping[str, tuple[str, ...]] = {
    "chat": ("messages",),
    "completions": ("prompt",),
    "responses": ("input",),
    "messages": ("messages",),
    "gemini": ("contents",),
    "converse": ("messages",),
    "embeddings": ("input",),
    "rerank": ("query", "documents"),
}
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_NESTED_LENGTHS = ("maxOutputTokens", "max_output_tokens", "maxTokens")
_NESTED = ("generationConfig", "inferenceConfig")
#: Whatever a target says in place of a body.
_TARGETS = ("model", "modelId", "stream", "stream_options")
_SETTINGS = {"temperature": "temperature", "top_p": "top_p", "topP": "top_p"}
_ASSISTANTS = ("assistant", "model")
_SYSTEMS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request says that every API can say."""

    system: str
    #: (whether the assistant said it, text), the last one the user's
    turns: tuple[tuple[bool, str], ...]
    #: `temperature` and `top_p`, where they were set
    settings: Mapping[str, Any]


def api_of(body: Body, wanted: str) -> str:
    """The API that a body is of; `wanted` where it is of that one as well as of others.

    Raises ValueError for a body of none.
    """
    fits = [name for name, keys in PROMPT_KEYS.items() if all(key in body for key in keys)]
    if "messages" in body:
        fits = _of_messages(body)
    if not fits:
        raise ValueError(
            "is no request of a known API: it has none of messages, prompt, input, contents, query"
        )
    return wanted if wanted in fits else fits[0]


def _of_messages(body: Body) -> list[str]:
    """Which of the three APIs that have messages a body may be of."""
    messages = body["messages"]
    contents = [each.get("content") for each in messages if isinstance(each, dict)]
    parts = [part for held in contents if isinstance(held, list) for part in held]
    if any(isinstance(part, dict) and "type" not in part for part in parts):
        return ["converse"]
    if isinstance(body.get("system"), list) and any("type" not in part for part in body["system"]):
        return ["converse"]
    kinds = {part.get("type") for part in parts if isinstance(part, dict)}
    if "system" in body or "anthropic_version" in body or kinds & {"tool_use", "tool_result"}:
        return ["messages"]
    if "image" in kinds:
        return ["messages"]
    roles = {each.get("role") for each in messages if isinstance(each, dict)}
    if "image_url" in kinds or roles & {*_SYSTEMS, "tool", "function"}:
        return ["chat"]
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        first = tools[0] if isinstance(tools[0], dict) else {}
        return ["messages"] if "input_schema" in first else ["chat"]
    return ["chat", "messages"]


def length_of(body: Body) -> int | None:
    """How long the answer may be, as a body says."""
    places: Iterable[tuple[Any, tuple[str, ...]]] = (
        (body, _LENGTHS),
        *((body.get(name), _NESTED_LENGTHS) for name in _NESTED),
    )
    for holder, names in places:
        for name in names if isinstance(holder, Mapping) else ():
            value = holder.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def converted(body: Body, api: str, wanted: str) -> Body:
    """The body, of `api`, for the API that is `wanted`. Raises ValueError where that is not
    exact.
    """
    if api == wanted:
        return body
    if api not in _READ or wanted not in _WRITE:
        raise ValueError(f"is of {api!r}, which has no counterpart in {wanted!r}")
    return _WRITE[wanted](plain(body, api))


def plain(body: Body, api: str) -> Conversation:
    """What a body says. Raises ValueError for what other APIs cannot say."""
    known = {*PROMPT_KEYS[api], *_LENGTHS, *_TARGETS, *_NESTED, *_SETTINGS, *_SYSTEM_KEYS}
    settings: dict[str, Any] = {}
    for key, value in body.items():
        if key not in known:
            raise ValueError(f"its key {key!r} has no exact counterpart in another API")
        if key in _SETTINGS:
            settings[_SETTINGS[key]] = value
        elif key in _NESTED:
            settings |= _nested(key, value)
    system, turns = _READ[api](body)
    if not turns or turns[-1][0]:
        raise ValueError("does not end with the user's turn, which other APIs take otherwise")
    return Conversation(system, tuple(turns), settings)


def _nested(name: str, holder: Any) -> dict[str, Any]:
    found = {}
    for key, value in holder.items():
        if key in _SETTINGS:
            found[_SETTINGS[key]] = value
        elif key not in _NESTED_LENGTHS:
            raise ValueError(f"its key {name}.{key} has no exact counterpart in another API")
    return found


_SYSTEM_KEYS = ("system", "instructions", "systemInstruction")
_Read = tuple[str, list[tuple[bool, str]]]


def _text(content: Any) -> str:
    """The one text of a message. Raises ValueError for parts that are none."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        held = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(held, str):
            raise ValueError("a part of its content is no text (an image, a tool's call or result)")
        texts.append(held)
    if len(texts) != 1:
        raise ValueError("a message has several parts, which APIs join in different ways")
    return texts[0]


def _messages(messages: Any, key: str = "content") -> _Read:
    system, turns = "", list[tuple[bool, str]]()
    for message in messages:
        if not isinstance(message, Mapping):
            raise ValueError("a message is not an object")
        role = message.get("role", "user")
        if message.keys() - {"role", key}:
            other = min(message.keys() - {"role", key})
            raise ValueError(f"a message has {other!r}, which has no exact counterpart")
        if role in _SYSTEMS and not turns and not system:
            system = _text(message[key])
        elif role in _ASSISTANTS:
            turns.append((True, _text(message.get(key))))
        elif role == "user":
            turns.append((False, _text(message.get(key))))
        else:
            raise ValueError(f"the role {str(role)[:40]!r} has no exact counterpart at its place")
    return system, turns


def _of_chat(body: Body) -> _Read:
    return _messages(body["messages"])


def _of_prompt(body: Body) -> _Read:
    return "", [(False, _text(body["prompt"]))]


def _one_system(beside: str, within: str) -> str:
    """The system prompt, beside the messages or among them. Raises ValueError for two."""
    if beside and within:
        raise ValueError("has two system prompts, which APIs join in different ways")
    return beside or within


def _of_system_and_messages(body: Body) -> _Read:
    system, turns = _messages(body["messages"])
    return _one_system(_text(body["system"]) if body.get("system") else "", system), turns


def _of_responses(body: Body) -> _Read:
    given = body["input"]
    system, turns = ("", [(False, given)]) if isinstance(given, str) else _messages(given)
    return _one_system(str(body.get("instructions") or ""), system), turns


def _of_gemini(body: Body) -> _Read:
    held = body.get("systemInstruction")
    system = _text(held["parts"]) if isinstance(held, Mapping) else ""
    within, turns = _messages(body["contents"], "parts")
    return _one_system(system, within), turns


_READ: Mapping[str, Callable[[Body], _Read]] = {
    "chat": _of_chat,
    "completions": _of_prompt,
    "responses": _of_responses,
    "messages": _of_system_and_messages,
    "gemini": _of_gemini,
    "converse": _of_system_and_messages,
}


def _said(turns: Iterable[tuple[bool, str]], assistant: str = "assistant") -> list[dict[str, Any]]:
    return [{"role": assistant if theirs else "user", "content": text} for theirs, text in turns]


def _to_chat(asked: Conversation) -> Body:
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    return {"messages": [*system, *_said(asked.turns)], **asked.settings}


def _to_completions(asked: Conversation) -> Body:
    if asked.system or len(asked.turns) > 1:
        raise ValueError("is a conversation, which completions has no way to say")
    return {"prompt": asked.turns[0][1], **asked.settings}


def _to_responses(asked: Conversation) -> Body:
    system = {"instructions": asked.system} if asked.system else {}
    return {"input": _said(asked.turns), **system, **asked.settings}


def _to_messages(asked: Conversation) -> Body:
    system = {"system": asked.system} if asked.system else {}
    return {"messages": _said(asked.turns), **system, **asked.settings}


def _camel(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {("topP" if name == "top_p" else name): value for name, value in settings.items()}


def _to_gemini(asked: Conversation) -> Body:
    body: dict[str, Any] = {
        "contents": [
            {"role": each["role"], "parts": [{"text": each["content"]}]}
            for each in _said(asked.turns, "model")
        ]
    }
    if asked.system:
        body["systemInstruction"] = {"parts": [{"text": asked.system}]}
    if asked.settings:
        body["generationConfig"] = _camel(asked.settings)
    return body


def _to_converse(asked: Conversation) -> Body:
    body: dict[str, Any] = {
        "messages": [
            {"role": each["role"], "content": [{"text": each["content"]}]}
            for each in _said(asked.turns)
        ]
    }
    if asked.system:
        body["system"] = [{"text": asked.system}]
    if asked.settings:
        body["inferenceConfig"] = _camel(asked.settings)
    return body


_WRITE: Mapping[str, Callable[[Conversation], Body]] = {
    "chat": _to_chat,
    "completions": _to_completions,
    "responses": _to_responses,
    "messages": _to_messages,
    "gemini": _to_gemini,
    "converse": _to_converse,
}


def forced(body: Body, ours: Body, api: str) -> dict[str, Any]:
    """The body with the target's model, stream, length and extra keys in place of its own.

    `ours` is a body as the target writes it; what it asks is not taken.
    """
    left = {key: value for key, value in body.items() if key not in (*_LENGTHS, *_TARGETS)}
    for key, value in ours.items():
        if key in PROMPT_KEYS[api]:
            continue
        own = left.get(key)
        left[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    return left
