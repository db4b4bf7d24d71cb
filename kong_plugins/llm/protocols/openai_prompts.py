"""Prompts as OpenAI's embeddings and legacy completions take them: a text, tokens, or a list of either."""

from __future__ import annotations

from typing import Any

from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.tokens import Prompt


def prompt_of(value: Any, name: str, *, more_text: str | None = None) -> Prompt:
    """What the model is to read, with a text that goes with each prompt.

    Raises:
        InvalidRequest: it is none of what OpenAI takes.
    """
    prompts = [value] if _is_one_prompt(value) else value
    if not isinstance(prompts, list) or not prompts or not all(map(_is_one_prompt, prompts)):
        raise InvalidRequest(f"{name} must be text, a list of tokens, or a list of either.", param=name)
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if more_text is not None:
        texts += [more_text] * len(prompts)
    return Prompt(
        texts=tuple(texts),
        message_count=len(prompts),
        encoded_tokens=sum(len(prompt) for prompt in prompts if isinstance(prompt, list)),
        prompts=len(prompts),
    )


def _is_one_prompt(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(token) is int for token in value)
    return isinstance(value, str)
