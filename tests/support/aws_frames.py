"""AWS event streams as a server writes them, by the letter of Smithy's specification.

It shares nothing with `bench.api`; botocore reads these frames in the tests, but writes none.
"""

from __future__ import annotations

import binascii
import json
from typing import Any


def header(name: str, value: str | int | bytes) -> bytes:
    """One header; the type follows from the value: text, signed 64 bits, bytes."""
    if isinstance(value, int):
        typed = b"\x05" + value.to_bytes(8, "big", signed=True)
    else:
        data = value.encode() if isinstance(value, str) else value
        typed = (
            (b"\x07" if isinstance(value, str) else b"\x06") + len(data).to_bytes(2, "big") + data
        )
    return bytes([len(name.encode())]) + name.encode() + typed


def sealed(headers: bytes, payload: bytes) -> bytes:
    """A frame of headers that are bytes already."""
    lengths = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(
        4, "big"
    )
    begun = lengths + checksum(lengths) + headers + payload
    return begun + checksum(begun)


def checksum(data: bytes) -> bytes:
    """CRC-32, big-endian."""
    return binascii.crc32(data).to_bytes(4, "big")


def event(name: str, value: Any, kind: str = "event") -> bytes:
    """A message of `kind` event or exception; its payload is JSON, or bytes as they are."""
    payload = (
        value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    )
    texts = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return sealed(b"".join(header(*pair) for pair in texts.items()), payload)


def error(code: str, message: str) -> bytes:
    """A message of type error: all it says stands in headers."""
    texts = {":message-type": "error", ":error-code": code, ":error-message": message}
    return sealed(b"".join(header(*pair) for pair in texts.items()), b"")


def delta(text: str, padded: int = 0, index: int = 0) -> bytes:
    """A token as Bedrock sends it, its length hidden behind `padded` letters (0: without any)."""
    said: dict[str, Any] = {"contentBlockIndex": index, "delta": {"text": text}}
    if padded:
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        said["p"] = (letters * 2)[:padded]
    return event("contentBlockDelta", said)


def answer(*tokens: str, tier: str = "default", finish: str = "end_turn") -> bytes:
    """A whole ConverseStream of texts."""
    usage = {"inputTokens": 7, "outputTokens": len(tokens), "totalTokens": 7 + len(tokens)}
    end = {"usage": usage, "metrics": {"latencyMs": 321}, "serviceTier": {"type": tier}}
    return b"".join(
        [
            event("messageStart", {"role": "assistant", "p": "abc"}),
            *(delta(token, len(token)) for token in tokens),
            event("contentBlockStop", {"contentBlockIndex": 0, "p": "ab"}),
            event("messageStop", {"stopReason": finish, "p": "abcd"}),
            event("metadata", end),
        ]
    )
