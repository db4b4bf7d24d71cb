"""How a request proves to its provider who pays: from a deployment's sealed credential to the headers of one call.

The plugin process alone opens a credential. A deployment's `authentication` is the header of an API key, or `none`, or
`aws_sigv4`, a signature over the request as it leaves, or `google_service_account` or `entra_client`, an access token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from kong_plugins.llm.access_tokens import AccessTokens, TokenSource
from kong_plugins.llm.aws_signature import AwsKeys, SignedPost, signature_headers
from kong_plugins.llm.body import Splice
from kong_plugins.llm.credentials import credential_key_ids, open_credential
from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.oauth import EntraClient, ServiceAccount
from kong_plugins.llm.release import Deployment, PolicyDocument
from kong_plugins.llm.requests import Target

_SOURCES: Final[Mapping[str | None, type[TokenSource]]] = {
    "google_service_account": ServiceAccount,
    "entra_client": EntraClient,
}
_AWS_SERVICE: Final = "bedrock"


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request as Kong sends it on: to `host` without its port, which is how its Host header says it, with the body
    as it came and the splices that are applied to it."""

    host: str
    target: Target
    body: bytes
    splices: Sequence[Splice]


class Authorizer:
    """Opens the credentials of deployments.

    Raises:
        ValueError: `credential_key` holds what is no key.
    """

    def __init__(self, credential_key: str, tokens: AccessTokens) -> None:
        credential_key_ids(credential_key)
        self._credential_key = credential_key
        self._tokens = tokens

    def credential(self, document: PolicyDocument, deployment: Deployment) -> str:
        """What a call of the deployment presents: its secret, or the access token that is fetched with it.

        Raises:
            PolicyUnavailable: it cannot be opened on this node, or there is no token at the moment.
        """
        secret = self._secret(document, deployment)
        source = _token_source(deployment, secret)
        return secret if source is None else self._tokens.current(source, deployment.credential)

    def is_at_hand(self, document: PolicyDocument, deployment: Deployment) -> bool:
        """Whether a call of the deployment has no access token to wait for; where it has, one is on its way."""
        if deployment.authentication not in _SOURCES:
            return True
        try:
            self.credential(document, deployment)
        except PolicyUnavailable:
            return False
        return True

    def token_sources(self, document: PolicyDocument) -> Iterator[tuple[TokenSource, str]]:
        """Where the tokens of a policy's deployments come from, each with its credential's name."""
        for deployment in document.deployments:
            if deployment.authentication in _SOURCES:
                try:
                    source = _token_source(deployment, self._secret(document, deployment))
                except PolicyUnavailable:
                    continue
                assert source is not None, "its authentication has one"
                yield source, deployment.credential

    def _secret(self, document: PolicyDocument, deployment: Deployment) -> str:
        name = deployment.credential
        try:
            return open_credential(document.credentials[name], credential_id=name, credential_key=self._credential_key)
        except ValueError as error:
            raise PolicyUnavailable(
                "The provider's credential cannot be opened at the moment. Try again.", retry_after_ms=1000
            ) from error


def authorization_headers(
    deployment: Deployment, credential: str, outgoing: Outgoing, *, now_ms: int
) -> dict[str, str] | None:
    """The headers with which a call of the deployment proves who pays; None where that is the wire format's own way.

    Raises:
        ValueError: the gateway does not know this way of authentication.
    """
    match deployment.authentication:
        case None:
            return None
        case "none":
            return {}
        case "bearer" | "google_service_account" | "entra_client":
            return {"authorization": f"Bearer {credential}"}
        case "x-api-key" | "api-key" | "x-goog-api-key" as header:
            return {header: credential}
        case "aws_sigv4":
            return _signature(deployment, credential, outgoing, now_ms)
        case unknown:
            raise ValueError(f"no gateway of this version authenticates by {unknown!r}")


def _signature(deployment: Deployment, credential: str, outgoing: Outgoing, now_ms: int) -> dict[str, str]:
    post = SignedPost(
        host=outgoing.host,
        path=outgoing.target.path,
        query=outgoing.target.query,
        body=_spliced(outgoing.body, outgoing.splices),
    )
    keys = msgspec.json.decode(credential, type=AwsKeys)
    return signature_headers(post, keys, region=deployment.region or "", service=_AWS_SERVICE, now_ms=now_ms)


def _spliced(body: bytes, splices: Iterable[Splice]) -> Iterator[bytes | memoryview]:
    """The body with its splices, in pieces: it may be large, and is only read here."""
    view, copied = memoryview(body), 0
    for offset, length, replacement in splices:
        yield view[copied:offset]
        yield replacement.encode()
        copied = offset + length
    yield view[copied:]


def _token_source(deployment: Deployment, secret: str) -> TokenSource | None:
    """Raises:
    PolicyUnavailable: the secret is none of this kind.
    """
    kind = _SOURCES.get(deployment.authentication)
    try:
        return None if kind is None else msgspec.json.decode(secret, type=kind)
    except msgspec.DecodeError as error:
        raise PolicyUnavailable(
            "The provider's credential cannot be used at the moment. Try again.", retry_after_ms=1000
        ) from error
