"""AWS's unmodified SDK through the whole system, checked against the provider's own books."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError

from tests.e2e.sdks.silent_server import silent_server
from tests.e2e.sdks.tls_front import tls_front
from tests.e2e.system import System, Team, eventually

MODEL: Final = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SERVED: Final[dict[str, Any]] = {
    "provider_model": MODEL,
    "price": {
        "input_usd_per_mtok": "1.10",
        "cache_read_usd_per_mtok": "0.11",
        "cache_write_usd_per_mtok": "1.375",
        "cache_write_1h_usd_per_mtok": "2.20",
        "output_usd_per_mtok": "5.50",
    },
}
HELLO: Final = [{"role": "user", "content": [{"text": "Where is my parcel?"}]}]
MANUAL: Final = [
    {"text": "The manual. " * 20},
    {"cachePoint": {"type": "default", "ttl": "1h"}},
    {"text": "The case. " * 20},
    {"cachePoint": {"type": "default"}},
]

Client = Callable[..., Any]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Makes clients of AWS's SDK, whatever the machine's own settings for AWS are."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    made = []

    def make(team: Team, *, key: str | None = None, attempts: int = 1, mode: str = "legacy", **changes: Any) -> Any:
        """Its endpoint and its key changed: the key is the access key's id, its secret is not read."""
        arguments = {
            "endpoint_url": team.system.gateway,
            "aws_access_key_id": key or team.key,
            "aws_secret_access_key": "unused",
        } | changes
        config = Config(retries={"total_max_attempts": attempts, "mode": mode}, read_timeout=60)
        made.append(boto3.session.Session().client("bedrock-runtime", "us-east-1", config=config, **arguments))
        return made[-1]

    yield make
    for each in made:
        each.close()


def new_team(system: System, name: str, **fields: Any) -> Team:
    """A team whose model is served in both of Bedrock's formats."""
    team = system.new_team(name, protocol="bedrock_converse", **SERVED, **fields)
    system.create("deployments", model=team.model, provider=team.slug, protocol="bedrock_invoke", **SERVED)
    return team


def invocation(**members: Any) -> str:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 60}
    return json.dumps(body | {"messages": [{"role": "user", "content": "Where is my parcel?"}]} | members)


def booked(team: Team, calls: int = 1) -> list[dict[str, Any]]:
    """The ledger's rows, which agree with the provider's books to the nano-dollar."""

    def look() -> list[dict[str, Any]] | None:
        found = team.spent_in_ledger()
        return found if len(found) >= calls else None

    rows = eventually(look, within_s=5, what=f"{calls} calls in the ledger")
    billed = {call["client_request_id"]: call["amount_nusd"] for call in team.books()}
    assert {row["request_id"]: row["amount_nusd"] for row in rows} == billed
    assert all(row["quality"] == "exact" and 0 < row["amount_nusd"] <= row["hold_nusd"] for row in rows)
    return rows


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_a_bedrock_api_key_is_all_that_a_client_needs(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    team = new_team(system, "bedrock-bearer")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", team.key)

    with tls_front(system.gateway, tmp_path_factory.mktemp("tls")) as (gateway, certificate):
        sdk = client(team, endpoint_url=gateway, verify=certificate, aws_access_key_id=None, aws_secret_access_key=None)
        answer = sdk.converse(modelId=team.model, messages=HELLO, inferenceConfig={"maxTokens": 40})
        stream = sdk.converse_stream(modelId=team.model, messages=HELLO)["stream"]
        *_, last = stream

    assert answer["output"]["message"]["content"][0]["text"]
    usages = sorted(
        (usage["inputTokens"], usage["outputTokens"]) for usage in (answer["usage"], last["metadata"]["usage"])
    )
    assert sorted((row["input_tokens"], row["output_tokens"]) for row in booked(team, 2)) == usages
    assert {call["account"] for call in team.books()} == {team.account}


def test_a_plain_call_is_answered_and_booked_to_the_nano_dollar(system: System, client: Client) -> None:
    team = new_team(system, "bedrock")

    answer = client(team).converse(modelId=team.model, messages=HELLO, inferenceConfig={"temperature": 0.5})

    [row] = booked(team)
    usage = answer["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["inputTokens"], usage["outputTokens"])
    assert row["protocol"] == "bedrock_converse"
    told = answer["ResponseMetadata"]["HTTPHeaders"]
    assert told["x-bursar-model"] == f"{team.slug}/{MODEL}"
    [billed] = team.books()
    assert not {name for name in billed["header_names"] if name.startswith("x-amz-")}


def test_a_streamed_call_keeps_every_event_and_is_booked_exactly(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-stream")

    events = list(client(team).converse_stream(modelId=team.model, messages=HELLO)["stream"])

    assert [name for event in (*events[:2], *events[-3:]) for name in event] == [
        *("messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
    ]
    [row] = booked(team)
    assert row["output_tokens"] == events[-1]["metadata"]["usage"]["outputTokens"] == len(events) - 4


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_what_the_cache_reads_and_writes_for_each_time_is_booked_exactly(
    system: System, client: Client, streamed: bool
) -> None:
    team = new_team(system, "bedrock-cache")
    team.behave(cache_read_tokens=30, cache_write_tokens=41)
    asked = {"modelId": team.model, "messages": HELLO, "system": MANUAL, "inferenceConfig": {"maxTokens": 60}}

    if streamed:
        list(client(team).converse_stream(**asked)["stream"])
    else:
        client(team).converse(**asked)

    [row] = booked(team)
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["cache_write_1h_tokens"]) == (30, 41, 20)


def test_anthropics_own_words_are_understood_too(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-invoke")
    team.behave(cache_read_tokens=30, cache_write_tokens=41)
    hour = {"type": "text", "text": "The manual. " * 20, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    sdk = client(team)

    plain = json.loads(sdk.invoke_model(modelId=team.model, body=invocation(system=[hour]))["body"].read())
    stream = sdk.invoke_model_with_response_stream(modelId=team.model, body=invocation(system=[hour]))["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]

    assert plain["content"][0]["text"]
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    rows = booked(team, 2)
    assert {row["protocol"] for row in rows} == {"bedrock_invoke"}
    assert all((row["cache_read_tokens"], row["cache_write_1h_tokens"]) == (30, 41) for row in rows)


@pytest.mark.parametrize("invokes", [False, True], ids=["converse", "invoke"])
def test_a_stream_that_breaks_off_costs_what_was_sent_of_it(system: System, client: Client, invokes: bool) -> None:
    team = new_team(system, "bedrock-cut")
    team.behave(output_tokens=400, cut_after_tokens=5)

    sdk = client(team)
    settings, body = {"maxTokens": 400}, invocation(max_tokens=400)
    stream = (
        sdk.invoke_model_with_response_stream(modelId=team.model, body=body)["body"]
        if invokes
        else sdk.converse_stream(modelId=team.model, messages=HELLO, inferenceConfig=settings)["stream"]
    )
    with pytest.raises(ProtocolError):
        list(stream)

    assert_charged_for_what_was_sent(team)


def test_a_client_that_leaves_mid_stream_pays_for_what_was_sent(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-leaver")
    team.behave(token_ms=20, output_tokens=400)

    sdk = client(team)
    stream = sdk.converse_stream(modelId=team.model, messages=HELLO, inferenceConfig={"maxTokens": 400})["stream"]
    for _ in range(12):
        next(iter(stream))
    stream.close()

    assert_charged_for_what_was_sent(team)


def assert_charged_for_what_was_sent(team: Team) -> None:
    [row] = eventually(team.spent_in_ledger, within_s=10, what="the broken-off call in the ledger")
    [billed] = team.books()
    assert row["quality"] == "partial"
    assert 0 < billed["output_tokens"] < 400
    assert 0 < billed["amount_nusd"] <= row["amount_nusd"] <= row["hold_nusd"]
    assert row["output_tokens"] < 400, "a short stream must not cost its whole hold"
    assert team.budget()["state"]["held"] == 0


def test_a_used_up_budget_is_told_at_once_and_not_tried_again(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-empty", cap_nusd=0)

    sdk = client(team, attempts=5)
    calls: list[Callable[[], object]] = [
        lambda: sdk.converse(modelId=team.model, messages=HELLO),
        lambda: sdk.invoke_model(modelId=team.model, body=invocation()),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="budget") as caught:
            call()
        assert code_of(caught) == "ServiceQuotaExceededException"
        assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0

    assert team.books() == []


def test_each_refusal_raises_the_sdks_own_error(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-refused")
    other = new_team(system, "bedrock-other")
    system.new_limit(team, "requests", 1)
    sdk = client(team)

    refused: dict[str, list[tuple[Any, str, dict[str, Any]]]] = {
        "AccessDeniedException": [(client(team, key="AKIAEXAMPLE"), team.model, {}), (sdk, other.model, {})],
        "ResourceNotFoundException": [(sdk, "no-such-model", {})],
        "ValidationException": [
            (sdk, team.model, {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}})
        ],
    }
    for code, calls in refused.items():
        for caller, model, members in calls:
            with pytest.raises(ClientError) as caught:
                caller.converse(modelId=model, messages=HELLO, **members)
            assert code_of(caught) == code
    with pytest.raises(ClientError, match="service-tier") as chosen:
        sdk.invoke_model(modelId=team.model, body=invocation(), serviceTier="reserved")
    assert code_of(chosen) == "ValidationException"
    assert team.books() == []

    sdk.converse(modelId=team.model, messages=HELLO)
    with pytest.raises(ClientError) as limited:
        sdk.converse(modelId=team.model, messages=HELLO)
    assert code_of(limited) == "ThrottlingException"


def test_a_provider_that_fails_is_heard_in_its_own_words_and_billed_nothing(system: System, client: Client) -> None:
    team = new_team(system, "bedrock-failing")
    team.behave(fail_status=503)

    with pytest.raises(ClientError) as caught:
        client(team).converse(modelId=team.model, messages=HELLO)

    assert code_of(caught) == "ServiceUnavailableException"
    eventually(lambda: [row for row in team.ledger() if row["kind"] == "voided"], within_s=5, what="the void")
    assert team.spent_in_ledger() == []


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_call_that_bursar_signs_is_taken_for_what_it_is(system: System, client: Client, streamed: bool) -> None:
    """The simulator refuses a request whose path, body or host is not what was signed."""
    team = new_team(system, "bedrock-signed")
    key_id = f"AKIA{team.account.encode().hex().upper()}"
    keys = {"access_key_id": key_id, "secret_access_key": f"{team.account}-secret"}
    signing = f"{team.slug}-sigv4"
    system.create(
        "providers",
        name=signing,
        vendor="bedrock",
        authentication="aws_sigv4",
        base_url=system.provider,
        credential=keys,
    )
    model = system.create(
        "models", name=signing, context_window_tokens=128_000, max_output_tokens=4096, default_output_tokens=1024
    )["name"]
    system.create(
        "deployments", model=model, provider=signing, protocol="bedrock_converse", region="us-east-1", **SERVED
    )
    system.change(f"/api/v1/teams/{team.slug}", models=[model])
    sdk, asked = client(team), {"modelId": model, "messages": HELLO}

    said = list(sdk.converse_stream(**asked)["stream"]) if streamed else sdk.converse(**asked)

    assert said
    [row] = booked(team)
    assert row["provider"] == signing
    [billed] = team.books()
    assert "x-amz-date" in billed["header_names"]


@pytest.mark.parametrize("operation", ["count-tokens", "async-invoke", "apply", "converse/x"])
def test_another_path_is_not_served(system: System, operation: str) -> None:
    assert httpx.post(f"{system.gateway}/model/x/{operation}", json={}).status_code == 404


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_a_call_that_may_have_been_billed_is_charged_once_and_not_sent_again(
    system: System, client: Client, mode: str
) -> None:
    with silent_server() as base_url:
        team = system.new_team("bedrock-silent", protocol="bedrock_converse", **SERVED)
        system.change(f"/api/v1/providers/{team.slug}", base_url=base_url)
        spare = f"{team.slug}-spare"
        system.create("providers", name=spare, base_url=system.provider, credential=team.account)
        served = SERVED | {"protocol": "bedrock_converse", "order": 1}
        system.create("deployments", model=team.model, provider=spare, **served)

        with pytest.raises(ClientError, match="may have been billed") as caught:
            client(team, attempts=4, mode=mode).converse(modelId=team.model, messages=HELLO)

    assert code_of(caught) == "ModelTimeoutException"
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    [row] = eventually(team.spent_in_ledger, within_s=20, what="the call in the ledger")
    assert (row["outcome"], row["amount_nusd"]) == ("unanswered", row["hold_nusd"])
    assert team.books() == []
