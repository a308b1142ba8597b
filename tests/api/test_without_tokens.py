"""Embeddings and rerank: bodies, whole answers beside the official client's, and what a target,
a plan and a budget make of answers without tokens.
"""

from __future__ import annotations

import base64
import json
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api import embeddings, rerank
from bench.api.answer import Usage
from bench.api.interface import AnswerLimit, BodyOptions
from bench.errors import UserError
from bench.plan.budget import PER_USD, PROMPT_MARGIN, budget_of, call_bound
from bench.plan.clause import parse_slo
from bench.plan.contract import Contract
from bench.plan.schedule import compile_plan
from bench.plan.target import Target
from bench.userfile import parse_model
from tests.support.planned import profile, stage, suite, target
from tests.support.vendor_client import client_of, read

VECTORS = [[0.25, -1.5], [0.5, 2.0]]
PRICES: dict[str, Any] = {
    "input_usd_per_million": "2",
    "output_usd_per_million": "10",
    "as_of": "2026-11-30",
    "source": "s",
}


def embedded(packed: bool, **more: Any) -> bytes:
    """An answer as OpenAI writes it, or in base64 as its client asks for it."""
    data = []
    for index, vector in enumerate(VECTORS):
        text = base64.b64encode(struct.pack("<2f", *vector)).decode()
        data.append(
            {"object": "embedding", "index": index, "embedding": text if packed else vector}
        )
    whole = {"object": "list", "data": data, "model": "e-1"}
    return json.dumps(whole | {"usage": {"prompt_tokens": 8, "total_tokens": 8}} | more).encode()


@pytest.mark.parametrize("packed", [True, False])
def test_an_embedding_is_what_the_official_client_reads(packed: bool) -> None:
    """Usage and model by either; there is no token, so no first one, and no output."""
    body = embedded(packed)
    client, asked = client_of(body, content_type="application/json")
    theirs = client.embeddings.create(model="m", input=["a", "b"])
    assert [each.embedding for each in theirs.data] == VECTORS
    ours = read(embeddings.API, body, 10, 40, stream=False)
    assert (ours.prompt_tokens, ours.model) == (theirs.usage.prompt_tokens, theirs.model)
    assert (ours.output_tokens, ours.chunks, ours.first_token_ns) == (0, 0, -1)
    assert ours.complete
    assert asked[0].url.path == embeddings.API.path("/v1", "m", False)


@pytest.mark.parametrize(
    ("body", "error", "malformed"),
    [
        (b'{"data":[{"embedding": [1]}]}', None, None),
        (b'{"data":[{"embedding":[[1,2],[3]]}]}', None, None),
        (b'{"data":[{"embedding":[]}]}', None, "an embedding is empty"),
        (b'{"data":[{"embedding":""}]}', None, "an embedding is empty"),
        (b'{"data":[]}', None, "answer without embeddings"),
        (b'{"model":"m"}', None, "answer without embeddings"),
        (b'{"error":{"message":"full"}}', "full", None),
        (b'{"object":"embedding","data":[{"object":"embedding","embedding":"AA"}]}', None, None),
        (b'{"model":"\\"embedding\\":[1","data":[{"embedding":[1]}]}', None, None),
    ],
)
def test_what_an_embedding_says(body: bytes, error: str | None, malformed: str | None) -> None:
    """A vector counts if it holds something, whatever its numbers."""
    said = embeddings.API.read_body(body)
    assert (said.error, said.malformed) == (error, malformed)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.floats(allow_nan=False)),
    lambda inner: st.dictionaries(st.sampled_from(["embedding", "data", "a"]), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["embedding", "data", '"embedding"']), VALUES), st.booleans()
)
def test_skipping_vectors_changes_nothing_else(value: dict[str, Any], spaced: bool) -> None:
    """Against a whole decoding of it, with vectors and texts of that name replaced there."""

    def without(found: Any, key: str = "") -> Any:
        if isinstance(found, dict):
            return {name: without(inner, name) for name, inner in found.items()}
        return 1 if key == "embedding" and isinstance(found, (list, str)) and found else found

    separators = (", ", ": ") if spaced else (",", ":")
    body = json.dumps(value, separators=separators).encode()
    found = embeddings.decode_without_vectors(body)
    assert found in (without(value), value)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        # Cohere v2; vLLM and Jina; Voyage; TEI
        (
            b'{"results":[{"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}',
            Usage(-1, 0),
        ),
        (
            b'{"results":[{"index":0,"relevance_score":1}],"meta":{"tokens":{"input_tokens":7}}}',
            Usage(7, 0),
        ),
        (
            b'{"usage":{"total_tokens":9},"results":[{"document":{"text":"a"},"relevance_score":0}]}',
            Usage(9, 0),
        ),
        (
            b'{"data":[{"relevance_score":0.4,"index":0}],"usage":{"total_tokens":5}}',
            Usage(5, 0),
        ),
        (b' [{"index":0,"score":0.99},{"index":1,"score":-3}]', Usage(-1, 0)),
    ],
)
def test_a_ranking_of_each_kind_of_server(body: bytes, usage: Usage) -> None:
    """Scores under either name; searches that are billed are no tokens."""
    answer = read(rerank.API, body, 3, stream=False)
    assert (answer.prompt_tokens, answer.output_tokens) == usage[:2]
    assert (answer.chunks, answer.first_token_ns, answer.complete) == (0, -1, True)


@pytest.mark.parametrize(
    ("body", "malformed"),
    [
        (b"[]", "answer without results"),
        (b'{"results":{}}', "answer without results"),
        (b'{"results":[{"index":0}]}', "a result has no score"),
    ],
)
def test_a_ranking_without_scores_is_none(body: bytes, malformed: str) -> None:
    """Nothing was ranked."""
    assert rerank.API.read_body(body).malformed == malformed
    assert rerank.API.read_body(b'{"error":"full","error_type":"overloaded"}').error == "full"


# ---- bodies


def written(api: Any, text: bytes, **extra: Any) -> dict[str, Any]:
    options = BodyOptions("m", False, True, "max_tokens", extra)
    made: dict[str, Any] = json.loads(api.body_format(options).write((text,), 64))
    return made


def test_embeddings_hold_one_text_or_so_many() -> None:
    """The planned words are shared out, none is lost."""
    text = b"one two three four five"
    assert written(embeddings.API, text, dimensions=8) == {
        "model": "m",
        "input": text.decode(),
        "dimensions": 8,
    }
    made = written(embeddings.API, text, input=3)["input"]
    assert (len(made), " ".join(made)) == (3, text.decode())
    assert written(embeddings.API, b"one", input=2)["input"] == ["one", "one"]


@given(st.integers(1, 300), st.integers(1, 40))
def test_a_rankings_words_are_the_planned_ones_as_servers_count(words: int, number: int) -> None:
    """The query once with each document; with fewer words than that some repeat."""
    text = b" ".join(b"w%d" % index for index in range(words))
    made = written(rerank.API, text, documents=number)
    query, documents = made["query"].split(), [each.split() for each in made["documents"]]
    assert len(documents) == number
    assert all(documents)
    counted = len(query) * number + sum(map(len, documents))
    if words >= 2 * number:
        assert counted == words
        assert [*query, *(word for each in documents for word in each)] == text.decode().split()[
            : words - len(query) * (number - 1)
        ]


def test_documents_may_be_the_users_own_and_have_teis_name() -> None:
    """Ten without a word; a list stands as it is, under the server's name for it."""
    text = b" ".join([b"w"] * 400)
    assert len(written(rerank.API, text)["documents"]) == 10
    own = written(rerank.API, b"what", documents=["a", "b"], top_n=1)
    assert own == {"model": "m", "query": "what", "documents": ["a", "b"], "top_n": 1}
    for extra in ({}, {"documents": ["a", "b"]}):
        form = rerank.API.body_format(BodyOptions("m", False, True, "max_tokens", extra))
        assert not form.drop_refused("model not found")
        assert form.drop_refused("failed to deserialize: missing field `texts` at line 1")
        assert not form.drop_refused("missing field `texts`")
        made = json.loads(form.write((text,), 0))
        assert set(made) == {"model", "query", "texts"}


# ---- targets, plans, budgets


@pytest.mark.parametrize(
    ("api", "keys", "text"),
    [
        ("embeddings", {"stream": True}, "embeddings answers at once, without tokens"),
        ("embeddings", {"extra_body": {"input": 0}}, "'input' is how many texts a request holds"),
        ("embeddings", {"extra_body": {"model": "x"}}, "'model' is set by tailproof"),
        ("rerank", {"extra_body": {"documents": "many"}}, "'documents' is how many texts"),
        ("rerank", {"extra_body": {"query": "x"}}, "'query' is set by tailproof"),
    ],
)
def test_targets_that_ask_for_what_there_is_not(api: str, keys: dict[str, Any], text: str) -> None:
    """One sentence with the key."""
    fields = {"description": "d", "base_url": "http://h/v1", "model": "m", "api": api, **keys}
    with pytest.raises(UserError, match=text):
        parse_model(Target, fields, "t.toml")


@pytest.mark.parametrize("api", ["embeddings", "rerank"])
def test_a_plan_without_tokens_costs_its_prompts_alone(api: str) -> None:
    """No stream, no planned output, no price for any."""
    made = target(api=api, prices=PRICES, base_url="https://api.example.com/v1")
    assert (made.stream, made.spoken.answer_limit({}, "max_tokens")) == (
        False,
        AnswerLimit(planned=False),
    )
    plan = compile_plan(suite(stage(profile(**SIZES), made)), 1)
    assert set(plan.schedule["output_tokens"]) == {0}
    # 10 requests of 1,000 tokens at 2 USD a million
    assert budget_of(plan).usd == Fraction(10 * 1000 * 2, 10**6)
    bound = call_bound(made)
    assert bound.prompt(1000) == (1000 + PROMPT_MARGIN) * 2 * PER_USD // 10**6
    assert bound.answer(64) == 0


SIZES: dict[str, Any] = {
    "arrivals": {"kind": "constant", "rate": "10/s"},
    "duration": "1s",
    "prompt_tokens": [{"fixed": 1000}],
    "output_tokens": [{"fixed": 200}],
}


@pytest.mark.parametrize("slo", ["ttft:p99<1s", "tpot:p99<1s", "inter_chunk_max:p99<1s"])
def test_a_clause_on_tokens_is_refused_before_the_run(slo: str) -> None:
    """No row could have the value."""
    contract = Contract.model_validate({"title": "t", "name": "c", "clause": [parse_slo(slo)]})
    with pytest.raises(UserError, match="answers of embeddings have no tokens; judge e2e"):
        compile_plan(suite(stage(profile(**SIZES), target(api="embeddings"), contract=contract)), 1)
