"""Tokens: counted exactly, and texts made of an exact number of those of o200k."""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path

import tiktoken

_RANKS = Path(__file__).parents[2] / "kong_plugins" / "llm" / "ranks"
# tiktoken panics on a run of a million spaces (openai/tiktoken issue 15), so long texts are counted in pieces.
_PIECE_CHARACTERS = 400_000
_SENTENCE_TOKENS = 12

# Each word with the blank before it is one token, and so is the full stop.
_VOCABULARY = """
customer answer question order invoice refund today price team request budget report cloud service model data
search result product page simple clear short useful next last important possible available change update
review check number total account payment delivery support help list note plan step time week month details
option choice reason example with without for from about before after because when and or but also more than
please thank you they can will should must may is are was has have
"""
_WORDS = tuple(f" {word}" for word in _VOCABULARY.split())
_OPENERS = (" The", " We", " This", " Here", " Please")


@cache
def _encoding(name: str) -> tiktoken.Encoding:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(_RANKS))
    return tiktoken.get_encoding(name)


def count_tokens(text: str, encoding: str = "o200k_base") -> int:
    """How many tokens a text has; markers such as <|endoftext|> are plain text."""
    pieces = (text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS))
    return sum(len(_encoding(encoding).encode_ordinary(piece)) for piece in pieces)


def write_tokens(count: int, *, seed: str) -> list[str]:
    """A text of exactly `count` tokens, one by one; equal seeds give equal texts."""
    words = random.Random(seed).choices(_WORDS, k=count)
    for start in range(0, count, _SENTENCE_TOKENS):
        words[start] = _OPENERS[start // _SENTENCE_TOKENS % len(_OPENERS)]
    for end in range(_SENTENCE_TOKENS - 1, count, _SENTENCE_TOKENS):
        words[end] = "."
    return [words[0].lstrip(), *words[1:]] if words else []
