"""The vendors of models, as rows of data: which wire formats each serves, where, and how it knows who pays.

The addresses are those of the vendors' own references, to which `docs` leads. A vendor is never code: what differs
between two that serve the same format is in its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

# What the credential of a provider is: an API key, none at all, or fields that have to be turned into headers.
CredentialKind = Literal["api_key", "none", "aws_sigv4", "google_service_account", "entra_client"]
# The header in which an API key is presented; `bearer` is Authorization.
KeyHeader = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
# Who says where a call is served: the deployment's region, of which the address is made; the account or resource;
# nobody; or whoever runs the server.
RegionSource = Literal["deployment", "account", "none", "own"]

CREDENTIAL_KINDS: Final[tuple[CredentialKind, ...]] = get_args(CredentialKind)
KEY_HEADERS: Final[tuple[KeyHeader, ...]] = get_args(KeyHeader)
CUSTOM: Final = "custom"


class Served(msgspec.Struct, frozen=True):
    """How a vendor serves one wire format. In `base_url`, `{region}` stands for the deployment's region; in capitals is
    what every customer has of his own, so that it is only an example then. `key_header` is where an API key goes, None
    for the format's own place."""

    base_url: str
    key_header: KeyHeader | None = "bearer"

    @property
    def is_example(self) -> bool:
        return self.base_url != self.base_url.lower()


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor. `credentials` are the kinds that it takes, the usual one first; `prices` is its id in the data of
    genai-prices, None where that has none; `otherwise` is how it serves the formats that are not named."""

    title: str
    docs: str
    formats: Mapping[str, Served]
    credentials: tuple[CredentialKind, ...] = ("api_key",)
    prices: str | None
    region: RegionSource = "none"
    notes: str = ""
    otherwise: Served | None = None

    def serves(self, protocol: str) -> Served | None:
        """How it serves a wire format; None where it does not."""
        return self.formats.get(protocol, self.otherwise)

    def authentication(self, protocol: str, kind: str) -> str | None:
        """How a credential of this kind is presented in calls of a wire format, as `release.Deployment.authentication`
        says it."""
        if kind != "api_key":
            return kind
        served = self.serves(protocol)
        return served.key_header if served else None


def _all_at(base_url: str, *protocols: str, key_header: KeyHeader = "bearer") -> dict[str, Served]:
    return dict.fromkeys(protocols, Served(base_url, key_header))


_OPENAI: Final = (
    *("openai_chat", "openai_responses", "openai_embeddings", "openai_completions"),
    *("openai_images", "openai_speech", "openai_transcriptions"),
)

VENDORS: Final[Mapping[str, Vendor]] = {
    "openai": Vendor(
        title="OpenAI",
        docs="https://platform.openai.com/docs/api-reference",
        formats=_all_at("https://api.openai.com/v1", *_OPENAI),
        prices="openai",
        region="account",
        notes="Projects with data residency have a host of their own, such as eu.api.openai.com.",
    ),
    "azure": Vendor(
        title="Azure OpenAI",
        docs="https://learn.microsoft.com/azure/ai-foundry/openai/reference",
        formats=_all_at("https://NAME.openai.azure.com/openai/v1", *_OPENAI, key_header="api-key")
        | _all_at("https://NAME.services.ai.azure.com/anthropic/v1", "anthropic_messages", key_header="x-api-key"),
        credentials=("api_key", "entra_client"),
        prices="azure",
        region="account",
        notes="The provider's name of a model is that of the Azure deployment. Deployment paths work too: "
        "`https://NAME.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21`.",
    ),
    "anthropic": Vendor(
        title="Anthropic",
        docs="https://docs.anthropic.com/en/api",
        formats=_all_at("https://api.anthropic.com/v1", "anthropic_messages", key_header="x-api-key")
        | _all_at("https://api.anthropic.com/v1", "openai_chat"),
        prices="anthropic",
    ),
    "google": Vendor(
        title="Google Gemini API",
        docs="https://ai.google.dev/api",
        formats=_all_at("https://generativelanguage.googleapis.com/v1beta", "gemini", key_header="x-goog-api-key")
        | _all_at("https://generativelanguage.googleapis.com/v1beta/openai", "openai_chat", "openai_embeddings"),
        prices="google",
    ),
    "vertex": Vendor(
        title="Google Vertex AI",
        docs="https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
        formats=_all_at(
            "https://{region}-aiplatform.googleapis.com/v1/projects/PROJECT/locations/{region}/publishers/google",
            "gemini",
        )
        | _all_at(
            "https://{region}-aiplatform.googleapis.com/v1/projects/PROJECT/locations/{region}/endpoints/openapi",
            "openai_chat",
        ),
        credentials=("google_service_account",),
        prices="google",
        region="deployment",
        notes="The global endpoint has another host: `https://aiplatform.googleapis.com/v1/projects/PROJECT/locations/"
        "global/…`.",
    ),
    "bedrock": Vendor(
        title="Amazon Bedrock",
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference",
        formats=_all_at("https://bedrock-runtime.{region}.amazonaws.com", "bedrock_converse", "bedrock_invoke")
        | _all_at("https://bedrock-runtime.{region}.amazonaws.com/openai/v1", "openai_chat"),
        credentials=("aws_sigv4", "api_key"),
        prices="aws",
        region="deployment",
        notes="The provider's name of a model is a model id, an inference profile or its ARN.",
    ),
    "mistral": Vendor(
        title="Mistral",
        docs="https://docs.mistral.ai/api",
        formats=_all_at("https://api.mistral.ai/v1", "openai_chat", "openai_embeddings"),
        prices="mistral",
    ),
    "cohere": Vendor(
        title="Cohere",
        docs="https://docs.cohere.com/reference/chat",
        formats=_all_at("https://api.cohere.com/v2", "cohere_chat")
        | _all_at("https://api.cohere.ai/compatibility/v1", "openai_chat", "openai_embeddings"),
        prices="cohere",
    ),
    "groq": Vendor(
        title="Groq",
        docs="https://console.groq.com/docs/openai",
        formats=_all_at(
            "https://api.groq.com/openai/v1",
            *("openai_chat", "openai_responses", "openai_speech", "openai_transcriptions"),
        ),
        prices="groq",
        notes="Transcriptions tell how long the sound is with `response_format=verbose_json`; any other is charged "
        "what is held for it.",
    ),
    "together": Vendor(
        title="Together",
        docs="https://docs.together.ai/docs/openai-api-compatibility",
        formats=_all_at(
            "https://api.together.xyz/v1",
            *("openai_chat", "openai_embeddings", "openai_completions"),
            *("openai_images", "openai_speech"),
        ),
        prices="together",
    ),
    "deepseek": Vendor(
        title="DeepSeek",
        docs="https://api-docs.deepseek.com",
        formats=_all_at("https://api.deepseek.com/v1", "openai_chat")
        | _all_at("https://api.deepseek.com/anthropic/v1", "anthropic_messages", key_header="x-api-key"),
        prices="deepseek",
    ),
    "xai": Vendor(
        title="xAI",
        docs="https://docs.x.ai/docs/api-reference",
        formats=_all_at("https://api.x.ai/v1", "openai_chat", "openai_responses", "openai_images"),
        prices="x-ai",
    ),
    "openrouter": Vendor(
        title="OpenRouter",
        docs="https://openrouter.ai/docs/api-reference",
        formats=_all_at(
            "https://openrouter.ai/api/v1",
            *("openai_chat", "openai_responses", "openai_embeddings", "openai_completions", "anthropic_messages"),
        ),
        prices="openrouter",
    ),
    "vllm": Vendor(
        title="vLLM",
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        formats=_all_at(
            "http://HOST:8000/v1",
            *("openai_chat", "openai_responses", "openai_embeddings", "openai_completions"),
        ),
        credentials=("none", "api_key"),
        prices=None,
        region="own",
        notes="Started with `--api-key`, it wants that key. Give it a price, which may be 0, for use under budgets.",
    ),
    "ollama": Vendor(
        title="Ollama",
        docs="https://docs.ollama.com/api",
        formats=_all_at("http://127.0.0.1:11434/api", "ollama_chat")
        | _all_at("http://127.0.0.1:11434/v1", "openai_chat", "openai_embeddings", "openai_completions"),
        credentials=("none", "api_key"),
        prices=None,
        region="own",
        notes="The address is as seen from the gateway. An API key is for a proxy in front of it, or for ollama.com.",
    ),
    CUSTOM: Vendor(
        title="Another, or a server of your own",
        docs="",
        formats={},
        otherwise=Served("https://HOST/v1", key_header=None),
        credentials=("api_key", "none"),
        prices=None,
        region="own",
        notes="Every wire format, with the API key where that format has it.",
    ),
}
