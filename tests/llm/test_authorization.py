"""How calls prove who pays: on the headers of the very request that Kong sends on."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from kong_plugins.llm.access_tokens import AccessTokens
from kong_plugins.llm.admission import Admission
from kong_plugins.llm.authorization import Authorizer, Outgoing, authorization_headers
from kong_plugins.llm.body import Splice
from kong_plugins.llm.credentials import seal_credential
from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.grants import Grant
from kong_plugins.llm.oauth import EntraClient
from kong_plugins.llm.release import Model
from kong_plugins.llm.requests import Target
from kong_plugins.llm.store import Store
from stack.readiness import eventually
from tests.llm.cast import CREDENTIAL_KEY, deployment, policy
from tests.llm.gateway import Gateway, body
from tests.llm.token_endpoint import TokenEndpoint, entra_client, service_account, token_endpoint

NAME: Final = "acme/provider"
PLAIN: Final = Outgoing(host="api.example.com", target=Target(path="/v1/x"), body=b"{}", splices=())
AWS: Final = {"access_key_id": "AKIDEXAMPLE000000", "secret_access_key": "aws-secret"}


def sealed(secret: str) -> dict[str, str]:
    return {NAME: seal_credential(secret, credential_id=NAME, credential_key=CREDENTIAL_KEY)}


@pytest.mark.parametrize(
    ("authentication", "headers"),
    [
        (None, None),
        ("none", {}),
        ("bearer", {"authorization": "Bearer secret"}),
        ("x-api-key", {"x-api-key": "secret"}),
        ("api-key", {"api-key": "secret"}),
        ("x-goog-api-key", {"x-goog-api-key": "secret"}),
        ("google_service_account", {"authorization": "Bearer secret"}),
        ("entra_client", {"authorization": "Bearer secret"}),
    ],
)
def test_a_credential_goes_into_its_vendors_header(authentication: str | None, headers: dict[str, str] | None) -> None:
    at = deployment(authentication=authentication)

    assert authorization_headers(at, "secret", PLAIN, now_ms=0) == headers


def test_a_way_of_authentication_that_this_version_does_not_know_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="'kerberos'"):
        authorization_headers(deployment(authentication="kerberos"), "secret", PLAIN, now_ms=0)


def test_what_aws_receives_is_what_was_signed_its_splices_applied() -> None:
    at = deployment(authentication="aws_sigv4", region="eu-central-1")
    outgoing = Outgoing(
        host="bedrock-runtime.eu-central-1.amazonaws.com",
        target=Target(path="/model/anthropic.claude%3A0/converse", query="a=1"),
        body=b'{"model":"mini","max_tokens":900}',
        splices=(Splice(1, 0, '"x":1,'), Splice(9, 6, '"claude"'), Splice(29, 3, "5")),
    )

    final = b'{"x":1,"model":"claude","max_tokens":5}'
    url = f"https://{outgoing.host}{outgoing.target.path}?{outgoing.target.query}"
    expected, now_ms = signed_by_botocore(url, final)

    assert authorization_headers(at, json.dumps(AWS), outgoing, now_ms=now_ms) == expected


def signed_by_botocore(url: str, data: bytes) -> tuple[dict[str, str], int]:
    """The headers that AWS' own client gives the same request now, and the instant that it takes for now."""
    request = AWSRequest("POST", url, data=data)
    SigV4Auth(Credentials(AWS["access_key_id"], AWS["secret_access_key"]), "bedrock", "eu-central-1").add_auth(request)
    signed_at = time.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    return {name.lower(): value for name, value in request.headers.items()}, calendar.timegm(signed_at) * 1000


class Node:
    """A node whose one model is served by deployments that need tokens, among others."""

    def __init__(self, gateway: Gateway, endpoint: TokenEndpoint) -> None:
        self.gateway = gateway
        self.tokens = AccessTokens()
        self.admission = Admission(gateway.store, gateway.settings, tokens=self.tokens)
        self.secret = entra_client(endpoint.url)

    def publish(self, secret: str | None = None, *others: Any) -> None:
        """Put a policy in force in which an Azure deployment comes first, and then the `others`."""
        azure = deployment(id="azure", provider="azure", authentication="entra_client", credential=NAME)
        deployments = (azure, *others)
        model = Model(
            name="mini",
            context_window_tokens=128_000,
            max_output_tokens=16_384,
            default_output_tokens=1024,
            deployments=tuple(each.id for each in deployments),
        )
        self.gateway.publish(
            credentials=policy().credentials | sealed(secret or self.secret), deployments=deployments, models=(model,)
        )

    def admit(self) -> Grant:
        return self.admission.admit(self.gateway.caller(), body(), "openai_chat")


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with token_endpoint() as running:
        yield running


@pytest.fixture
def node(gateway: Gateway, endpoint: TokenEndpoint) -> Iterator[Node]:
    made = Node(gateway, endpoint)
    yield made
    made.tokens.close()


def token_at_hand(node: Node) -> None:
    node.tokens.start(node.admission.token_sources)
    eventually(
        lambda: bool(node.admission.token_sources()) and node.tokens.has(source_of(node)), "a token", within_s=30
    )


def source_of(node: Node) -> EntraClient:
    fields = json.loads(node.secret)
    return EntraClient(**fields)


def test_a_call_without_a_token_is_refused_at_once_and_holds_nothing(node: Node) -> None:
    node.publish()

    with pytest.raises(PolicyUnavailable, match="no access token") as refusal:
        node.admit()

    assert refusal.value.http_status == 503
    assert refusal.value.headers()["retry-after"] == "1"
    assert node.gateway.store.open_holds(node.gateway.organization) == 0


def test_the_token_of_a_policy_is_fetched_before_any_call_asks_for_it(node: Node) -> None:
    node.publish()
    token_at_hand(node)

    assert node.admit().credential_headers == {"authorization": "Bearer token-1"}


def test_a_deployment_whose_token_is_not_there_yet_is_passed_over(node: Node) -> None:
    node.publish(None, deployment())

    grant = node.admit()

    assert grant.meter.facts.deployment == "mini-at-openai"
    assert grant.credential_headers == {"authorization": "Bearer sk-provider"}


def test_a_token_is_in_the_grants_header_alone(node: Node) -> None:
    node.publish()
    token_at_hand(node)

    table = node.admit().table()

    headers: Any = table.pop("set_headers")
    assert headers["authorization"] == "Bearer token-1"
    assert "token-1" not in repr(table)
    stored = node.gateway.store.connection.redis
    assert not any(b"token-1" in repr(stored.dump(name)).encode() for name in stored.scan_iter(count=1000))


def test_an_organization_whose_credential_cannot_be_opened_costs_no_other_its_tokens(
    node: Node, endpoint: TokenEndpoint
) -> None:
    document = policy(
        credentials={NAME: sealed(service_account(endpoint.url))[NAME], "other": sealed("x")[NAME]},
        deployments=(
            deployment(id="vertex", authentication="google_service_account", credential=NAME),
            deployment(id="broken", authentication="entra_client", credential="other"),
            deployment(credential=NAME),
        ),
    )

    [(_, name)] = Authorizer(CREDENTIAL_KEY, node.tokens).token_sources(document)

    assert name == NAME


def test_a_key_that_is_none_is_noticed_at_the_start() -> None:
    with pytest.raises(ValueError, match="BURSAR_CREDENTIAL_KEY"):
        Authorizer("short", AccessTokens())


def test_which_tokens_are_needed_is_not_known_while_redis_is_away(gateway: Gateway) -> None:
    away = Store.from_url("redis://127.0.0.1:1/0", timeout_ms=100)

    with pytest.raises(PolicyUnavailable):
        Admission(away, gateway.settings).token_sources()
    away.close()


def test_a_credential_that_is_none_keeps_no_other_from_its_token() -> None:
    account, of_entra = sealed("not an account's key file"), {"tenant_id": "t", "client_id": "c", "client_secret": "s"}
    broken = deployment(id="broken", credential=NAME, authentication="google_service_account")
    sound = deployment(id="sound", credential="other", authentication="entra_client")
    other = seal_credential(json.dumps(of_entra), credential_id="other", credential_key=CREDENTIAL_KEY)
    document = policy(deployments=(broken, sound), credentials=account | {"other": other})
    authorizer = Authorizer(CREDENTIAL_KEY, AccessTokens())

    assert [name for _, name in authorizer.token_sources(document)] == ["other"]
    assert not authorizer.is_at_hand(document, broken)
    with pytest.raises(PolicyUnavailable):
        authorizer.credential(document, broken)
