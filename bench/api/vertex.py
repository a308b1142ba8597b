"""How Vertex AI is asked for a tier, whichever API speaks to it.

In: an address. Out: the headers that ask. Must stay true: a tier that was bought alone is asked for
alone: without `shared`, a purchased throughput answers first, whatever else is asked for.

Sources, read on 2026-11-30: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo
("use only Priority PayGo": both headers) and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/use-provisioned-throughput.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
