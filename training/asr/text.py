"""Sentences of our own grammar, with a split that depends on the sentence alone.

Whatever the seed, a sentence belongs to exactly one split: the training text never holds a test sentence, nor one of
the sample recordings. `python -m training.asr.text 20` prints some.
"""

import hashlib
import random
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from training.asr.basic_grammar import BASIC_TEMPLATES, BASIC_WEIGHTS, BASIC_WORDS
from training.asr.templates import TEMPLATES, WEIGHTS
from training.asr.vocabulary import WORDS
from training.recordings.sample_scripts import SCRIPTS

TextSplit = Literal["train", "test", "samples"]
TEST_SHARE = 0.06
"""Part of all possible sentences that is only ever used to test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Sentence templates by situation, how often each situation occurs, and the words that fill the slots."""

    templates: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]


GRAMMARS = {
    "basic": Grammar(templates=BASIC_TEMPLATES, weights=BASIC_WEIGHTS, words=BASIC_WORDS),
    "wide": Grammar(templates=TEMPLATES, weights=WEIGHTS, words=WORDS),
}
"""`basic` is what the shipped model knows; `wide` has three times the words, and needs many times the training."""

_SLOT = re.compile(r"\{(\w+)\}")
_OPTION = re.compile(r"\[([^\[\]]*)\]")
_CHOICE = re.compile(r"\(([^()]*)\)")
_LONGEST_WORDS = 26


def normalize(text: str) -> str:
    """Lower-case words with single spaces, as word error rates are counted: letters and apostrophes only."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


@cache
def _sample_sentences() -> frozenset[str]:
    return frozenset(normalize(turn.text) for script in SCRIPTS.values() for turn in script)


def split_of(text: str) -> TextSplit:
    """The split a sentence belongs to; punctuation and case make no difference."""
    words = normalize(text)
    if words in _sample_sentences():
        return "samples"
    share = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") / 2**32
    return "test" if share < TEST_SHARE else "train"


def make_sentence(
    rng: random.Random, split: TextSplit = "train", situation: str | None = None, grammar: str = "basic"
) -> str:
    """Draw a sentence of `split`, from one situation (`meeting`, `lecture`, `call`, `helpline`) or by their weights."""
    source = GRAMMARS[grammar]
    while True:
        name = situation or rng.choices(list(source.weights), list(source.weights.values()))[0]
        sentence = _expand(rng.choice(source.templates[name]), source.words, rng)
        if split_of(sentence) == split and sentence.count(" ") < _LONGEST_WORDS:
            return sentence


def _expand(template: str, words: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    text = template
    while "[" in text or "(" in text or "{" in text:
        text = _OPTION.sub(lambda match: match[1] if rng.random() < 0.5 else "", text)
        text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), text)
        text = _SLOT.sub(lambda match: rng.choice(words[match[1]]), text)
    return _tidy(text)


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\bthe the\b", "the", text)
    text = re.sub(r"\s+([,.?])", r"\1", text)
    text = re.sub(r",+([.?,])", r"\1", text)
    text = re.sub(r"\b(a) (?=[aeiou](?!ne\b|se))", r"\1n ", text)
    return text[0].upper() + text[1:]


def main() -> None:
    """Print as many sentences as asked for, and the number of words of the grammar."""
    rng = random.Random(0)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 20):
        print(make_sentence(rng))
    words = {word for _ in range(40_000) for word in normalize(make_sentence(rng)).split()}
    said = {word for sentence in _sample_sentences() for word in sentence.split()}
    print(f"{len(words)} words in the basic grammar, which lacks of the recordings: {sorted(said - words)}")


if __name__ == "__main__":
    main()
