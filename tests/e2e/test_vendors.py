"""Calls to vendors who are not reached by a bearer key: at Azure by path and by token, at AWS by signature."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.e2e.system import System, eventually

HELLO: Final[list[Any]] = [{"role": "user", "content": "Where is my parcel? ¿Dónde está? 📦"}]
AWS: Final = {"access_key_id": "AKIDEXAMPLE000000", "secret_access_key": "aws/secret+key="}
REGION: Final = "eu-central-1"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_azure_is_called_at_its_deployments_path_with_its_own_header(system: System, stream: bool) -> None:
    team = system.new_team("azure")
    system.change(
        f"/api/v1/providers/{team.slug}",
        vendor="azure",
        base_url=f"{system.provider}/openai/deployments/{{model}}?api-version=2024-10-21",
    )

    if stream:
        chunks = team.sdk().chat.completions.create(model=team.model, messages=HELLO, max_tokens=20, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        assert team.sdk().chat.completions.create(model=team.model, messages=HELLO, max_tokens=20).choices

    team.booked()
    [billed] = team.books()
    assert "api-key" in billed["header_names"]
    assert "authorization" not in billed["header_names"]


def test_azure_is_called_with_a_token_of_entra_that_was_fetched_beside_the_calls(system: System) -> None:
    team = system.new_team("entra")
    system.change(
        f"/api/v1/providers/{team.slug}",
        vendor="azure",
        authentication="entra_client",
        base_url=f"{system.provider}/openai/v1",
        credential={
            "tenant_id": "acme.example",
            "client_id": "bursar",
            "client_secret": team.account,
            "authority": system.provider,
        },
    )

    # A call before the token is there gets a 503, after which the SDK comes again by itself.
    patient = team.sdk().with_options(max_retries=10)
    answer = patient.chat.completions.create(model=team.model, messages=HELLO, max_tokens=20)

    assert answer.choices
    team.booked()
    [billed] = team.books()
    assert "api-key" not in billed["header_names"]


def test_a_provider_whose_tokens_cannot_be_fetched_is_never_asked_and_the_caller_told_to_come_again(
    system: System,
) -> None:
    team = system.new_team("locked-out")
    system.change(
        f"/api/v1/providers/{team.slug}",
        vendor="azure",
        authentication="entra_client",
        base_url=f"{system.provider}/openai/v1",
        credential={
            "tenant_id": "acme.example",
            "client_id": "bursar",
            "client_secret": "unknown",
            "authority": system.provider,
        },
    )

    answer = team.post(team.request())

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "policy_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-should-retry"] == "true"
    assert team.books() == []


class Aws:
    """A server that lets only those in whose signature is over what has arrived here, by botocore's own reckoning."""

    def __init__(self) -> None:
        self.address = ""
        self.targets: list[str] = []

    def proves(self, target: str, headers: dict[str, str], body: bytes) -> bool:
        instant, proof = headers["x-amz-date"], headers["authorization"]
        scope, signed = f"{AWS['access_key_id']}/{instant[:8]}/{REGION}/bedrock/aws4_request", "host;x-amz-date"
        request = AWSRequest(
            "POST",
            f"http://{headers['host']}{target}",
            headers={"Host": headers["host"], "X-Amz-Date": instant},
            data=body,
        )
        request.context["timestamp"] = instant
        signer = SigV4Auth(Credentials(AWS["access_key_id"], AWS["secret_access_key"]), "bedrock", REGION)
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        own = {name for name in headers if name.startswith("x-amz-")}
        expected = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
        return proof == expected and own == {"x-amz-date"}


@contextmanager
def aws_server() -> Iterator[Aws]:
    aws = Aws()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            aws.targets.append(self.path)
            proven = aws.proves(self.path, headers, body)
            usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
            answer = {"model": "claude", "choices": [], "usage": usage} if proven else {"message": "InvalidSignature"}
            content = json.dumps(answer).encode()
            self.send_response(200 if proven else 403)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    aws.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_aws_receives_is_what_was_signed_whatever_the_path_the_body_and_the_client_say(system: System) -> None:
    model = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.anthropic.claude-v1:0"
    team = system.new_team("signed", region=REGION, provider_model=model)
    with aws_server() as aws:
        system.change(
            f"/api/v1/providers/{team.slug}",
            vendor="bedrock",
            authentication="aws_sigv4",
            base_url=f"{aws.address}/model/{{model}}/openai/v1?b=2&a=%2F1",
            credential=AWS,
        )

        answer = team.post(
            team.request(messages=HELLO, temperature=0.1, max_tokens=3000),
            **{"x-amz-date": "20000101T000000Z", "x-amz-security-token": "the client's", "x-amz-target": "Other"},
        )

    assert answer.status_code == 200, answer.text
    quoted = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.anthropic.claude-v1%3A0"
    assert aws.targets == [f"/model/{quoted}/openai/v1/chat/completions?b=2&a=%2F1"]
    [row] = eventually(team.spent_in_ledger, within_s=10, what="the call in the ledger")
    assert (row["input_tokens"], row["output_tokens"], row["quality"]) == (9, 3, "exact")
