"""Reranking, as Cohere (`/v2/rerank`), Jina, Voyage, vLLM, llama.cpp and TEI (`/rerank`) speak it.

In: options and texts; a whole body. Out: bodies; what was said. Must stay true: scores are no
tokens; a request's planned tokens are what servers count, the query once for each document; an
answer without a score is malformed.

Sources: Cohere API reference, "V2 Rerank API"; Jina's and vLLM's are of the same shape, Voyage's
has `data`, TEI's is a list and asks for `texts`. `documents = 100` in the extra body asks
for so many documents a request, a list of texts for these; without it there are ten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.api.address import ending_in
from bench.api.answer import Said, Usage
from bench.api.decoding import count, decode, text_or_none
from bench.api.embeddings import check_number, shared_out, usage_of
from bench.api.failures import failure_in
from bench.api.interface import BodyOptions
from bench.api.openai_family import FixedBody, WithoutTokens, fixed_keys, joined

_DOCUMENTS = 10
#: The longest query that is made: as many words as make each prompt unlike any other.
_QUERY_WORDS = 8
#: Hosts whose console shows no path -> what their clients add.
_HOMES = {
    "api.cohere.com": "/v2",
    "api.cohere.ai": "/v2",
    "api.jina.ai": "/v1",
    "api.voyageai.com": "/v1",
}


class Rerank(WithoutTokens):
    """`POST …/rerank`."""

    name = "rerank"
    provider, operation = "cohere", "rerank"
    vllm_backend = "vllm-rerank"
    ending = "/rerank"
    own_keys = ("model", "query", "stream")
    cut_note = "a ranking is no stream"

    def base_path(self, base: str, host: str, query: str, model: str) -> str:
        return base or _HOMES.get(host, "")

    def path(self, base: str, model: str, stream: bool) -> str:
        if base:
            return super().path(base, model, stream)
        return self.ending

    def ready_path(self, base: str, model: str) -> str:
        home = ending_in(base, self.ending, "").removesuffix(self.ending)
        return (home if home not in ("", "/v2") else "/v1") + "/models"

    def check_extra_body(self, extra_body: Mapping[str, Any]) -> None:
        super().check_extra_body(extra_body)
        for key in ("documents", "texts"):
            if not isinstance(extra_body.get(key), list):
                check_number(extra_body, key)

    def body_format(self, options: BodyOptions) -> RerankBody:
        return RerankBody(options)

    def read_body(self, body: bytes) -> Said:
        if body.lstrip().startswith(b"["):
            answer = decode(b'{"results":' + body + b"}")
        else:
            answer = decode(body)
        answers = bool(answer.get("results") or answer.get("data"))
        if (failed := failure_in(answer, answers=answers)) is not None:
            return failed
        said = Said(model=text_or_none(answer.get("model")), usage=_usage(answer))
        results = answer.get("results", answer.get("data"))
        if not isinstance(results, list) or not results:
            said.malformed = "answer without results"
        elif not all(map(_has_score, results)):
            said.malformed = "a result has no score"
        return said


def _has_score(result: Any) -> bool:
    return isinstance(result, dict) and any(
        isinstance(result.get(name), (int, float)) for name in ("relevance_score", "score")
    )


def _usage(answer: dict[str, Any]) -> Usage:
    """By `usage`, else by Cohere's `meta`; searches that Cohere bills are no tokens."""
    meta = answer.get("meta")
    for tokens in (meta.get("tokens"), meta.get("billed_units")) if isinstance(meta, dict) else ():
        read = count(tokens.get("input_tokens")) if isinstance(tokens, dict) else -1
        if read >= 0:
            return Usage(read, 0)
    return usage_of(answer.get("usage"))


class RerankBody(FixedBody):
    """Writes bodies."""

    def __init__(self, options: BodyOptions):
        """Raises TypeError or ValueError where the extra body cannot be written as JSON."""
        fixed = fixed_keys(options)
        self._key = "texts" if "texts" in fixed else "documents"
        documents = fixed.get(self._key, _DOCUMENTS)
        #: how many to make; 0: the user's own stand in every body
        self._number = 0 if isinstance(documents, list) else fixed.pop(self._key, documents)
        super().__init__(fixed)

    def write(self, texts: Sequence[bytes], output_tokens: int) -> bytes:
        """The first words ask, the others are shared out among the documents."""
        text = joined(texts)
        if not self._number:
            return self.around(b'"query":"' + text + b'"')
        query, documents = cut(text, self._number)
        listed = b'","'.join(documents)
        key = self._key.encode()
        return self.around(b'"query":"' + query + b'","' + key + b'":["' + listed + b'"]')

    def drop_refused(self, message: str) -> bool:
        """TEI knows documents by another name."""
        if self._key == "texts" or "texts" not in message:
            return False
        if not self._number:
            self.fixed["texts"] = self.fixed.pop(self._key)
            self.write_head()
        self._key = "texts"
        return True


def cut(text: bytes, documents: int) -> tuple[bytes, list[bytes]]:
    """A query and so many documents, whose words are the text's where the query counts with each
    document: what it takes up again and again is left off the end.
    """
    words = text.count(b" ") + 1
    asking = max(1, min(_QUERY_WORDS, words // (2 * documents)))
    query, *rest = _split_after(text, asking)
    again = asking * (documents - 1)
    if not rest or words - asking - again < 1:
        return query, shared_out(rest[0] if rest else query, documents)
    return query, shared_out(rest[0].rsplit(b" ", again)[0], documents)


def _split_after(text: bytes, words: int) -> list[bytes]:
    """The text before and after its first words."""
    *first, rest = text.split(b" ", words)
    if len(first) == words:
        return [b" ".join(first), rest]
    return [text]


API = Rerank()
