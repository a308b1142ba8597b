"""What OpenAI, and clouds that serve its APIs, say of tiers, errors and themselves.

In: words of answers, headers and bodies; a target's tier and address. Out: what they mean; what
asks for a tier. Must stay true: a tier is asked for in the words of the cloud at that address; a
word that is in no table means nothing.

Sources: openai-python 3.57 (`types/responses/response_error.py`), OpenAI's guides to fast mode,
flex and reserved tier, Azure's spillover, Bedrock's service tiers, Vertex AI's priority pay-as-you-
go and provisioned throughput, Groq's service tiers (docs/apis.md has the addresses).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.api import google_facts
from bench.api.answer import Said
from bench.api.cause import Cause
from bench.api.decoding import text_or_none
from bench.api.interface import GATEWAY_HEADERS, HeaderFact
from bench.api.tier import BY_NAME, TierAsk, TierClass

#: Headers of OpenAI; of Azure, whose spillover answers from another deployment; of Google in
#: front of the same APIs.
HEADERS: Mapping[bytes, HeaderFact] = {
    **GATEWAY_HEADERS,
    b"openai-processing-ms": HeaderFact.server_ms,
    b"x-ms-is-spilled-over": HeaderFact.spilled_over,
    b"x-ms-spillover-from-deployment": HeaderFact.spilled_from,
    b"x-gemini-service-tier": HeaderFact.served_tier,
    # Mistral
    b"x-ratelimitbysize-remaining-minute": HeaderFact.tokens_left,
}
#: Of what makes no tokens: Hugging Face's server says how long it took, in ms.
PLAIN_HEADERS: Mapping[bytes, HeaderFact] = {**HEADERS, b"x-total-time": HeaderFact.server_ms}

#: The tier of an answer, in the words of OpenAI, Azure, Groq, Fireworks and their imitators, and of
#: Vertex AI. Spillover goes to a standard deployment.
SERVED_TIERS: Mapping[str, TierClass] = {
    "scale": TierClass.dedicated,
    "reserved": TierClass.dedicated,
    "provisioned_throughput": TierClass.dedicated,
    "priority": TierClass.priority,
    "fast": TierClass.priority,
    "ultrafast": TierClass.priority,
    "performance": TierClass.priority,
    "on_demand_priority": TierClass.priority,
    "default": TierClass.standard,
    "standard": TierClass.standard,
    "on_demand": TierClass.standard,
    "spillover": TierClass.standard,
    "flex": TierClass.flex,
    "on_demand_flex": TierClass.flex,
    "on_demand_offpeak": TierClass.flex,
}
#: Bought by deployment, project or model name: no request asks for it.
TIERS_BY_NAME: Mapping[str, TierAsk] = dict.fromkeys(
    ("dedicated", "provisioned", "reserved", "shared", "pro"), BY_NAME
)
_BY_FIELD = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
_OF_GROQ = ("on_demand", "performance")
TIERS: Mapping[str, TierAsk] = {
    **{word: TierAsk({"service_tier": word}) for word in (*_BY_FIELD, *_OF_GROQ)},
    "standard": TierAsk({"service_tier": "default"}),
    **TIERS_BY_NAME,
}
#: For APIs that sell no tiers by the request: what is bought is told apart by name alone.
NO_TIERS: Mapping[str, TierAsk] = {
    **TIERS_BY_NAME,
    **dict.fromkeys(("default", "standard"), BY_NAME),
}
#: By what stands in the address: clouds that have other tiers, or other words for them.
_TIERS_AT: Mapping[str, Mapping[str, TierAsk]] = {
    "bedrock-": {
        **{word: TierAsk({"service_tier": word}) for word in ("priority", "default", "flex")},
        "standard": TierAsk({"service_tier": "default"}),
        "reserved": TierAsk({"service_tier": "reserved"}),
        "dedicated": TierAsk({"service_tier": "reserved"}),
    },
    "aiplatform.googleapis.com": google_facts.TIERS,
}

#: Codes that none but these have.
ERROR_CODES: Mapping[str, Cause] = {
    "invalid_prompt": Cause.filter,
    "bio_policy": Cause.filter,
    "misalignment_policy_violation": Cause.filter,
    "image_content_policy_violation": Cause.filter,
    "responsibleaipolicyviolation": Cause.filter,
    "data_residency_mismatch": Cause.request,
    "previous_response_not_found": Cause.request,
    "deploymentnotfound": Cause.request,
    "operationnotsupported": Cause.request,
    "vector_store_timeout": Cause.server,
    "nocapacity": Cause.capacity,
    # Hugging Face's TGI and TEI; a 429 of their own means that all their places are taken.
    "generation": Cause.server,
    "incomplete_generation": Cause.server,
    "unhealthy": Cause.server,
    "backend": Cause.server,
    "validation": Cause.request,
    "tokenizer": Cause.request,
    "empty": Cause.request,
    # Google in front of the same APIs
    **google_facts.ERROR_CODES,
}


def tiers_of_cloud(base_url: str) -> Mapping[str, TierAsk]:
    """The tiers of the cloud at an address, where they are others than OpenAI's."""
    host = base_url.partition("://")[2].partition("/")[0]
    return next((tiers for part, tiers in _TIERS_AT.items() if part in host), {})


def note_tier(said: Said, answer: Mapping[str, Any]) -> None:
    """The tier that an answer, a chunk of it, or Vertex AI's usage names."""
    if "service_tier" in answer:
        said.tier = text_or_none(answer["service_tier"])
    usage = answer.get("usage")
    further = usage.get("extra_properties") if isinstance(usage, dict) else None
    google = further.get("google") if isinstance(further, dict) else None
    if isinstance(google, dict) and said.tier is None:
        said.tier = text_or_none(google.get("traffic_type"))
