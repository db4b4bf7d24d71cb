"""The wire formats that a deployment can speak, as people read them."""

from __future__ import annotations

from typing import Final

from kong_plugins.llm.protocols import PROTOCOL_NAMES

_TITLES: Final = {
    "openai_chat": "OpenAI chat completions",
    "openai_responses": "OpenAI responses",
    "openai_embeddings": "OpenAI embeddings",
    "openai_completions": "OpenAI completions (legacy)",
    "openai_images": "OpenAI images",
    "openai_speech": "OpenAI speech",
    "openai_transcriptions": "OpenAI transcriptions",
    "anthropic_messages": "Anthropic Messages",
    "gemini": "Gemini",
    "bedrock_converse": "Bedrock Converse",
    "bedrock_invoke": "Bedrock InvokeModel",
    "cohere_chat": "Cohere chat",
    "ollama_chat": "Ollama chat",
}


def protocol_choices() -> list[tuple[str, str]]:
    """The formats that gateways know, for a choice; a function, so that a new one needs no migration."""
    return list(protocol_titles().items())


def protocol_titles() -> dict[str, str]:
    """The formats that gateways know, by name."""
    return {name: _TITLES[name] for name in PROTOCOL_NAMES}
