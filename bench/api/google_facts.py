"""How Google is asked for a tier, and what its errors mean, whichever API speaks to it.

In: an address; an error's status and message. Out: the headers that ask; a cause. Must stay true: a
tier that was bought alone is asked for alone: without `shared`, a purchased throughput answers
first, whatever else is asked for; RESOURCE_EXHAUSTED is the buyer's quota only where the message
names it.

Sources, read on 2026-11-30: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo
("use only Priority PayGo": both headers) and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/use-provisioned-throughput.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.api.cause import Cause
from bench.api.tier import TierAsk

#: By Google's host, or by paths that only Vertex AI has, behind whatever host.
ADDRESS = re.compile(r"aiplatform[\w.-]*\.googleapis\.com|/(?:projects|publishers)/")
_REQUEST_TYPE = "X-Vertex-AI-LLM-Request-Type"
_SHARED_TYPE = "X-Vertex-AI-LLM-Shared-Request-Type"
_SHARED = (_REQUEST_TYPE, "shared")
_DEDICATED = TierAsk(headers=((_REQUEST_TYPE, "dedicated"),))
TIERS: Mapping[str, TierAsk] = {
    **dict.fromkeys(("dedicated", "provisioned", "provisioned_throughput"), _DEDICATED),
    **dict.fromkeys(("shared", "standard", "default"), TierAsk(headers=(_SHARED,))),
    **{word: TierAsk(headers=(_SHARED, (_SHARED_TYPE, word))) for word in ("priority", "flex")},
}


#: Words of `error.status` that no other vendor has for the same.
ERROR_CODES: Mapping[str, Cause] = {
    "unauthenticated": Cause.auth,
    "invalid_argument": Cause.request,
    "failed_precondition": Cause.request,
    "out_of_range": Cause.request,
    "unavailable": Cause.overload,
    "internal": Cause.server,
    "deadline_exceeded": Cause.server,
}


def cause_in_words(code: str, message: str) -> Cause | None:
    """What only the message decides, None where the code says enough: whether the quota is the
    buyer's or the vendor's pool is busy; a wrong key, which comes as INVALID_ARGUMENT.
    """
    text = message.lower()
    if code == "RESOURCE_EXHAUSTED":
        if "prepay" in text or "spend" in text:
            return Cause.spend
        own = "quota" in text or "provisioned throughput" in text
        return Cause.quota if own else Cause.capacity
    if code == "INVALID_ARGUMENT" and "api key" in text:
        return Cause.auth
    return None
