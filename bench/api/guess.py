"""Which API an address speaks, before and after it was asked.

In: a URL, a model's name; the status, headers and body of a refusal. Out: names of APIs, the
likeliest first; the variable in which a vendor's clients look for its key; whether a refusal is
about the model. Must stay true: nothing is left out that the address does not exclude; a guess is
an order of trying and never a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from bench.api.answer import MalformedAnswer
from bench.api.decoding import decode, error_code, error_message
from bench.api.openai_family import api_at
from bench.api.registry import MODULES

#: Part of host and path -> the API that such an address has first.
_BY_ADDRESS = (
    ("api.anthropic.com", "messages"),
    ("/anthropic", "messages"),
    ("/openai", "chat"),
    ("/endpoints/openapi", "chat"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "gemini"),
    ("bedrock-runtime", "converse"),
    ("api.cohere", "rerank"),
)
#: Words in the names of models that make no tokens.
_BY_MODEL = (("rerank", "rerank"), ("embed", "embeddings"))
#: Asked for in this order, then any others: what most servers speak comes first, and what makes
#: tokens.
_ORDER = (
    *("chat", "messages", "responses", "completions"),
    *("gemini", "converse", "embeddings", "rerank"),
)

#: Where the vendors' own clients look for a key.
_KEY_VARIABLES = {
    "api.openai.com": "OPENAI_API_KEY",
    "api.anthropic.com": "ANTHROPIC_API_KEY",
    "generativelanguage.googleapis.com": "GEMINI_API_KEY",
    ".openai.azure.com": "AZURE_OPENAI_API_KEY",
    ".services.ai.azure.com": "AZURE_OPENAI_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.cohere": "COHERE_API_KEY",
    "api.together": "TOGETHER_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.siliconflow": "SILICONFLOW_API_KEY",
    "bedrock-": "AWS_BEARER_TOKEN_BEDROCK",
}
_MISSING = re.compile(
    r"not (?:be )?found|does ?n[o']t exist|unknown|invalid model|no such|not support|unavailable"
)
_AZURE_HOST = re.compile(r"\.(openai|cognitiveservices|services\.ai)\.azure\.com$")


def candidates(url: str, model: str = "") -> list[str]:
    """The APIs that a URL may speak, in the order in which to try them: the one that its path ends
    in alone, else first what its host and the model's name suggest.
    """
    parts = urlsplit(url)
    if (whole := api_at(parts.path.rstrip("/"))) is not None:
        return [whole]
    first = [api for word, api in _BY_MODEL if word in model.lower()]
    address = f"{parts.hostname or ''}{parts.path}"
    # `/openai` below a cloud's host says more than the host.
    found = [api for part, api in _BY_ADDRESS if part in address]
    first += ["chat"] if "chat" in found else found
    return list(dict.fromkeys([*first, *_ORDER, *MODULES]))


def key_variable(url: str) -> str:
    """The environment variable that usually holds the key for a host."""
    host = urlsplit(url).hostname or ""
    return next((name for part, name in _KEY_VARIABLES.items() if part in host), "API_KEY")


def key_style(url: str) -> str | None:
    """How a key is sent to a host, where it is not as its API has it."""
    host = urlsplit(url).hostname or ""
    return "api-key" if _AZURE_HOST.search(host) else None


def shape_of(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> str | None:
    """The API whose refusal looks so: Anthropic names the type of its object, Google a status in
    capitals beside a number, AWS the exception in a header.
    """
    if any(name == b"x-amzn-errortype" for name, _ in headers):
        return "converse"
    try:
        found = decode(body)
    except MalformedAnswer:
        return None
    error = found.get("error")
    if not isinstance(error, dict):
        return None
    if found.get("type") == "error" and isinstance(error.get("type"), str):
        return "messages"
    status = error.get("status")
    if isinstance(error.get("code"), int) and isinstance(status, str) and status.isupper():
        return "gemini"
    return None


def is_about_model(status: int, body: bytes, model: str) -> bool:
    """Whether a refusal says that the model is not there, and not that the path is not."""
    if status not in (400, 404, 422):
        return False
    code, said = error_code(body).lower(), error_message(body).lower()
    if "model_not_found" in code or "deploymentnotfound" in code:
        return True
    quoted = f"['\"`]{re.escape(model.lower())}['\"`]"
    return bool(_MISSING.search(said)) and ("model" in said or re.search(quoted, said) is not None)
