"""Signatures of requests to AWS, against AWS' own test suite and its own client."""

from __future__ import annotations

import calendar
import time
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from kong_plugins.llm.aws_signature import AwsKeys, SignedPost, signature_headers

KEYS = AwsKeys(access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
HOST = "bedrock-runtime.eu-central-1.amazonaws.com"
_segments = st.lists(st.text(min_size=1, max_size=20).filter(lambda text: text not in (".", "..")), max_size=4)
_parameters = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4)


def milliseconds(instant: str) -> int:
    return calendar.timegm(time.strptime(instant, "%Y%m%dT%H%M%SZ")) * 1000


def test_the_example_of_aws_test_suite_is_signed_as_it_says() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html, `post-vanilla`."""
    post = SignedPost(host="example.amazonaws.com", path="/", query="", body=())

    headers = signature_headers(
        post, KEYS, region="us-east-1", service="service", now_ms=milliseconds("20150830T123600Z")
    )

    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    }


@given(_segments, _parameters, st.lists(st.binary(max_size=50), max_size=3), st.none() | st.just("session"))
@example(["model", "anthropic.claude-sonnet-4-5-20250929-v1:0", "converse"], [], [b'{"a":', b"1}"], None)
@example(
    ["model", "arn:aws:bedrock:eu-central-1:1:inference-profile/x", "invoke"], [("b", "2"), ("a", "1 +")], [], None
)
@example(["double", "", "slash"], [], [], None)
def test_botocore_signs_every_request_in_the_same_way(
    segments: list[str], parameters: list[tuple[str, str]], body: list[bytes], session_token: str | None
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)
    request = AWSRequest("POST", f"https://{HOST}{path}?{query}", data=b"".join(body))
    credentials = Credentials(KEYS.access_key_id, KEYS.secret_access_key, session_token)
    SigV4Auth(credentials, "bedrock", "eu-central-1").add_auth(request)

    ours = signature_headers(
        SignedPost(host=HOST, path=path, query=query, body=body),
        AwsKeys(
            access_key_id=KEYS.access_key_id, secret_access_key=KEYS.secret_access_key, session_token=session_token
        ),
        region="eu-central-1",
        service="bedrock",
        now_ms=milliseconds(request.headers["X-Amz-Date"]),
    )

    assert ours == {name.lower(): value for name, value in request.headers.items()}
