"""Proven upper bounds of how many input tokens a prompt can be billed.

A byte-level BPE token covers at least one byte, so the UTF-8 bytes of a text bound its tokens under any tokenizer.
Where the model's own tokenizer is known, the text is counted instead, which is about four times tighter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from gevent.monkey import get_original

if TYPE_CHECKING:
    from tiktoken import Encoding

# Counting runs at 5 to 40 characters a microsecond: at most 2 ms for prose and 8 ms for hostile text. What lies
# beyond is bounded by its bytes. The limit also keeps clear of a panic in tiktoken at a million spaces.
EXACT_CHARACTERS: Final = 32_768
_CHARACTERS_PER_CALL: Final = 32  # what one call of the tokenizer costs beside its text
_ENCODING_NAMES: Final = ("o200k_base", "cl100k_base")
_RANKS: Final = Path(__file__).parent / "ranks"


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks a model to read.

    `texts` holds every text of its messages, `schema_bytes` the size in JSON of what is rendered for the model in a
    way that only the provider knows (tools, response formats). `has_media` tells of images or files, whose tokens
    have nothing to do with their bytes. `encoded_tokens` came as tokens already. A model may be asked to read several
    prompts each by itself, and each of `prompts` is as long as its context at most.
    """

    texts: tuple[str, ...]
    message_count: int
    schema_bytes: int = 0
    has_media: bool = False
    encoded_tokens: int = 0
    prompts: int = 1


class ModelFamily(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of models by their provider's name for them.

    The overheads are what a chat template adds around the texts. `hides_reasoning`: output may be billed that no
    client sees, `most_thinking_tokens` at most where a request sets no bound. `output_members`: the members of a chat
    request that bound the output, the preferred one first.
    """

    encoding: str | None
    base_tokens: int
    tokens_per_message: int
    schema_tokens: int
    hides_reasoning: bool
    output_members: tuple[str, ...]
    most_thinking_tokens: int = 65_536


# OpenAI's cookbook "How to count tokens with tiktoken": 3 tokens a message, 1 for a name, 3 to prime the answer.
# The rest is slack, also for BPE merges across the end of the counted part.
_OPENAI_OVERHEAD: Final = {"base_tokens": 16, "tokens_per_message": 5, "schema_tokens": 512}

# Templates of open models may add a whole system prompt of their own; Anthropic adds up to 735 tokens for tools.
UNKNOWN_FAMILY: Final = ModelFamily(
    encoding=None,
    base_tokens=1024,
    tokens_per_message=16,
    schema_tokens=1024,
    hides_reasoning=True,
    output_members=("max_tokens",),
)

_FAMILIES: Final = (
    # Of Cohere's models, those that do not reason: https://docs.cohere.com/docs/models
    (
        re.compile(r"command-(?:r7b|r-plus|r|a)-[0-9]{2}-20[0-9]{2}$"),
        msgspec.structs.replace(UNKNOWN_FAMILY, hides_reasoning=False),
    ),
    # https://ai.google.dev/gemini-api/docs/thinking#set-budget; the older models do not think, but for one experiment.
    (
        re.compile(r"gemini-(?:1\.[05]|2\.0)(?!.*thinking)(?![0-9])"),
        msgspec.structs.replace(UNKNOWN_FAMILY, hides_reasoning=False, most_thinking_tokens=0),
    ),
    (re.compile(r"gemini-2\.5-pro"), msgspec.structs.replace(UNKNOWN_FAMILY, most_thinking_tokens=32_768)),
    (re.compile(r"gemini-2\.5-flash"), msgspec.structs.replace(UNKNOWN_FAMILY, most_thinking_tokens=24_576)),
    (
        # Of Anthropic's models, those that think only where they are told to; at Bedrock, an inference profile's name
        # or ARN stands around the model's.
        re.compile(
            r"(?:(?:arn:[^/]+/)?(?:[a-z-]+\.)?anthropic\.)?"
            r"claude-(?:3(?![0-9])|(?:opus|sonnet|haiku)-4(?:-[015])?(?=-20[0-9]{6}|@|$))"
        ),
        msgspec.structs.replace(UNKNOWN_FAMILY, hides_reasoning=False),
    ),
    (
        # Amazon's first Novas do not think.
        re.compile(r"(?:arn:[^/]+/)?(?:[a-z-]+\.)?amazon\.nova-(?:micro|lite|pro|premier)-v1"),
        msgspec.structs.replace(UNKNOWN_FAMILY, hides_reasoning=False),
    ),
    (
        re.compile(r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.1)(?![0-9a-z.])"),
        ModelFamily(
            encoding="o200k_base",
            hides_reasoning=False,
            output_members=("max_tokens", "max_completion_tokens"),
            **_OPENAI_OVERHEAD,
        ),
    ),
    (
        re.compile(r"(?:ft:)?(?:gpt-5|o[134])(?![0-9a-z])"),
        ModelFamily(
            encoding="o200k_base",
            hides_reasoning=True,
            output_members=("max_completion_tokens",),
            **_OPENAI_OVERHEAD,
        ),
    ),
    (
        # No template stands around what is embedded.
        re.compile(r"text-embedding-(?:3-small|3-large|ada-002)$"),
        ModelFamily(
            encoding="cl100k_base",
            base_tokens=0,
            tokens_per_message=1,
            schema_tokens=0,
            hides_reasoning=False,
            output_members=(),
        ),
    ),
    (
        re.compile(r"(?:ft:)?(?:gpt-4|gpt-3\.5-turbo|gpt-35-turbo|davinci-002|babbage-002)(?![0-9a-z.])"),
        ModelFamily(
            encoding="cl100k_base",
            hides_reasoning=False,
            output_members=("max_tokens", "max_completion_tokens"),
            **_OPENAI_OVERHEAD,
        ),
    ),
)

_loaded: dict[str, Encoding] = {}


def family_of(provider_model: str) -> ModelFamily:
    """The family that the provider's name for a model promises; the careful `UNKNOWN_FAMILY` for any other name."""
    for pattern, family in _FAMILIES:
        if pattern.match(provider_model):
            return family
    return UNKNOWN_FAMILY


def input_bound_tokens(prompt: Prompt, *, provider_model: str, context_window_tokens: int) -> int:
    """The most input tokens that a provider can bill for the prompt; never more than the model can read."""
    readable_tokens = context_window_tokens * prompt.prompts
    if prompt.has_media:
        return readable_tokens
    family = family_of(provider_model)
    overhead_tokens = family.base_tokens + family.tokens_per_message * prompt.message_count
    schema_tokens = family.schema_tokens + prompt.schema_bytes if prompt.schema_bytes else 0
    text_tokens = _text_bound_tokens(prompt.texts, _loaded.get(family.encoding or ""))
    return min(overhead_tokens + schema_tokens + text_tokens + prompt.encoded_tokens, readable_tokens)


def utf8_bytes(text: str) -> int:
    """The length of a text in UTF-8; a lone surrogate counts as the replacement character that it will become."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def strings_in(value: object, *, names: bool) -> Iterator[str]:
    """Every scalar inside a JSON value as text, with the names of members too where asked; without recursion, since
    a client chooses the depth."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(item.values())
            if names:
                pending.extend(item)
        elif isinstance(item, list):
            pending.extend(item)
        else:
            yield str(item)


def load_encodings() -> None:
    """Load the tokenizers' tables (0.5 s, 100 MB). Until this is done, bytes bound the tokens."""
    os.environ["TIKTOKEN_CACHE_DIR"] = str(_RANKS)
    from tiktoken import get_encoding

    for name in _ENCODING_NAMES:
        _loaded[name] = get_encoding(name)


def warm_up() -> None:
    """Load the tables in a thread of the operating system; in a greenlet it would stall every request."""
    if not _loaded:
        get_original("_thread", "start_new_thread")(load_encodings, ())


def _text_bound_tokens(texts: Iterable[str], encoding: Encoding | None) -> int:
    left = EXACT_CHARACTERS if encoding is not None else 0
    tokens = 0
    for text in texts:
        counted, rest = text[:left], text[left:]
        if counted and encoding is not None:
            tokens += len(encoding.encode_ordinary(counted))
            left = max(0, left - max(len(counted), _CHARACTERS_PER_CALL))
        tokens += utf8_bytes(rest)
    return tokens
