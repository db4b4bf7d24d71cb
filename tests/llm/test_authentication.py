"""Who is calling: one valid key, presented once, and nothing learnt from a refusal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kong_plugins.llm.authentication import KEY_HEADERS, Authenticator
from kong_plugins.llm.errors import InvalidApiKey, InvalidRequest, PolicyUnavailable, TeamMismatch
from kong_plugins.llm.keys import checksum, issue_key
from kong_plugins.llm.known_keys import REMEMBERED_MS
from kong_plugins.llm.requests import MAX_USER_LENGTH
from kong_plugins.llm.store import Store
from tests.llm.gateway import PEPPER, Gateway, now_ms
from tests.llm.proxy import LossyProxy
from tests.servers import eventually


def test_a_key_becomes_its_team_with_the_callers_own_label(gateway: Gateway) -> None:
    caller = gateway.caller(x_user_id="alice", x_team="search", content_length="12", content_encoding="gzip")

    assert caller.principal.organization == gateway.organization
    assert (caller.principal.team, caller.principal.key, caller.principal.key_name) == (
        "search",
        gateway.key_record.id,
        "search-prod",
    )
    assert caller.principal.user == "alice"
    assert (caller.content_length, caller.content_encoding) == (12, "gzip")


def test_an_encoding_that_could_not_be_printed_is_one_that_nobody_accepts(gateway: Gateway) -> None:
    assert gateway.caller(content_encoding="\udcff\udcfe").content_encoding == "unreadable"


@pytest.mark.parametrize("header", KEY_HEADERS)
def test_every_sdk_s_header_for_the_key_works(gateway: Gateway, header: str) -> None:
    value = f"bearer  {gateway.key} " if header == "authorization" else gateway.key

    assert gateway.authenticator.authenticate({header: [value]}).principal.team == "search"


def test_a_key_may_stand_for_an_aws_sdk_s_access_key_id(gateway: Gateway) -> None:
    scope = "20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=0a1b"

    assert gateway.caller(authorization=f"AWS4-HMAC-SHA256 Credential={gateway.key}/{scope}").principal.team == "search"
    for unclear in (f"{gateway.key}", f"{gateway.key}, SignedHeaders=host", f"AKIAEXAMPLE/{scope}"):
        with pytest.raises(InvalidApiKey):
            gateway.caller(authorization=f"AWS4-HMAC-SHA256 Credential={unclear}")


def test_what_an_aws_sdk_chooses_in_headers_is_passed_on(gateway: Gateway) -> None:
    name = "x-amzn-bedrock-service-tier"

    caller = gateway.caller(**{name: "flex", "x-amz-date": "20261123T120000Z"})

    assert caller.options == {name: "flex"}
    assert gateway.caller(**{name: "\udcff"}).options == {name: "unreadable"}


def test_the_same_key_in_two_headers_is_one_key(gateway: Gateway) -> None:
    caller = gateway.caller(x_api_key=gateway.key)

    assert caller.principal.key == gateway.key_record.id


def test_two_different_keys_are_refused_even_if_both_are_valid(gateway: Gateway) -> None:
    _, other = gateway.new_key()

    with pytest.raises(InvalidApiKey, match="once"):
        gateway.caller(x_api_key=other)


def test_a_header_that_comes_twice_is_refused(gateway: Gateway) -> None:
    with pytest.raises(InvalidApiKey, match="once"):
        gateway.authenticator.authenticate({"authorization": [f"Bearer {gateway.key}"] * 2})


def test_no_key_is_told_where_to_put_one(gateway: Gateway) -> None:
    with pytest.raises(InvalidApiKey, match="Authorization"):
        gateway.authenticator.authenticate({"x-api-key": [], "accept": ["*/*"]})


def test_every_key_that_is_not_in_force_gets_the_same_answer(gateway: Gateway) -> None:
    _, unknown = issue_key()
    _, inactive = gateway.new_key(active=False)
    _, expired = gateway.new_key(expires_at_ms=now_ms())
    _, forged = gateway.new_key(digest="0" * 64)
    mistyped = gateway.key[:-1] + ("A" if gateway.key[-1] != "A" else "B")

    messages = set()
    for key in (unknown, inactive, expired, forged, mistyped, "sk-foreign", "bsr_\udcff", ""):
        with pytest.raises(InvalidApiKey) as caught:
            gateway.authenticator.authenticate({"x-api-key": [key]})
        messages.add(caught.value.message)

    assert len(messages) == 1


def test_a_key_works_until_the_instant_at_which_it_expires(store: Store, gateway: Gateway) -> None:
    _, key = gateway.new_key(expires_at_ms=1000)

    Authenticator(store, key_pepper=PEPPER, now_ms=lambda: 999).authenticate({"x-api-key": [key]})
    with pytest.raises(InvalidApiKey):
        Authenticator(store, key_pepper=PEPPER, now_ms=lambda: 1000).authenticate({"x-api-key": [key]})


def test_a_revoked_key_stops_on_its_next_request(gateway: Gateway) -> None:
    gateway.caller()

    gateway.new_key(id=gateway.key_record.id, digest=gateway.key_record.digest, version=2, active=False)

    with pytest.raises(InvalidApiKey):
        gateway.caller()


@pytest.mark.parametrize("team", ["support", "", "SEARCH"])
def test_a_key_speaks_for_its_own_team_only(gateway: Gateway, team: str) -> None:
    with pytest.raises(TeamMismatch):
        gateway.caller(x_team=team)


@pytest.mark.parametrize("user", ["", "x" * (MAX_USER_LENGTH + 1), "new\nline", "\udcff", "\x1b[31m"])
def test_a_label_that_could_not_be_shown_is_dropped(gateway: Gateway, user: str) -> None:
    assert gateway.caller(x_user_id=user).principal.user is None


@pytest.mark.parametrize(("label", "user"), [("alice ", "alice"), (" alice", "alice"), ("\u00a0al ice\t", "al ice")])
def test_blanks_around_a_label_make_no_other_user(gateway: Gateway, label: str, user: str) -> None:
    _, key = gateway.new_key(speaks_for_users=True)

    for headers in ({"x_user_id": label}, {"x_user_id": label, "authorization": f"Bearer {key}"}):
        assert gateway.caller(**headers).principal.user == user


@pytest.mark.parametrize("label", ["", " ", "\u00a0\t"])
def test_a_label_of_blanks_alone_is_none(gateway: Gateway, label: str) -> None:
    _, key = gateway.new_key(speaks_for_users=True)

    assert gateway.caller(authorization=f"Bearer {key}", x_user_id=label).principal.user is None


@pytest.mark.parametrize("label", ["x" * (MAX_USER_LENGTH + 1), "new\nline", "\udcff"])
def test_a_key_that_speaks_for_users_must_name_them_clearly(gateway: Gateway, label: str) -> None:
    _, key = gateway.new_key(speaks_for_users=True)
    bearer = f"Bearer {key}"

    caller = gateway.caller(authorization=bearer, x_user_id="alice")
    assert (caller.principal.user, caller.principal.speaks_for_users) == ("alice", True)
    with pytest.raises(InvalidRequest):
        gateway.caller(authorization=bearer, x_user_id=label)
    with pytest.raises(InvalidRequest):
        gateway.authenticator.authenticate({"authorization": [bearer], "x-user-id": ["alice", "bob"]})


def test_a_label_that_comes_twice_is_no_label(gateway: Gateway) -> None:
    headers = {"authorization": [f"Bearer {gateway.key}"], "x-user-id": ["alice", "bob"]}

    assert gateway.authenticator.authenticate(headers).principal.user is None


@pytest.mark.parametrize(("value", "asks"), [("1", True), ("0", False)])
def test_a_dry_run_is_asked_for_in_a_header(gateway: Gateway, value: str, asks: bool) -> None:
    assert gateway.caller(x_bursar_dry_run=value).dry_run is asks
    assert not gateway.caller().dry_run


@pytest.mark.parametrize("values", [["true"], [""], ["1", "1"], ["1", "0"]])
def test_a_dry_run_that_is_not_clear_is_refused_because_it_might_spend(gateway: Gateway, values: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        gateway.authenticator.authenticate({"authorization": [f"Bearer {gateway.key}"], "x-bursar-dry-run": values})


def test_the_trace_is_taken_from_its_standard_header(gateway: Gateway) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    assert gateway.caller(traceparent=f"00-{trace}-b7ad6b7169203331-01").trace_id == trace
    assert gateway.caller(traceparent="00-zzz").trace_id is None


@pytest.mark.parametrize("length", ["", "ten", "-1", "9" * 30])
def test_a_length_that_is_none_is_left_to_the_body(gateway: Gateway, length: str) -> None:
    assert gateway.caller(content_length=length).content_length is None


def test_a_store_that_is_away_refuses_everyone() -> None:
    away = Store.from_url("redis://127.0.0.1:1", timeout_ms=50)
    _, key = issue_key()

    with pytest.raises(PolicyUnavailable) as caught:
        Authenticator(away, key_pepper=PEPPER).authenticate({"x-api-key": [key]})

    assert caught.value.headers()["retry-after"] == "1"
    away.close()


class Clock:
    """Time as it passes, whatever the clock on the wall says."""

    def __init__(self) -> None:
        self.elapsed_ms = 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def network(redis_address: str) -> Iterator[LossyProxy]:
    with LossyProxy(redis_address) as proxy:
        yield proxy


@pytest.fixture
def behind(network: LossyProxy, clock: Clock) -> Iterator[Authenticator]:
    """Checks keys over a network that can lose the answers."""
    store = Store.from_url(network.url, timeout_ms=2000)
    yield Authenticator(store, key_pepper=PEPPER, elapsed_ms=lambda: clock.elapsed_ms)
    store.close()


def take_away(network: LossyProxy) -> None:
    network.answers_to_lose = 10**9


def bearer(key: str) -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {key}"]}


def test_a_key_that_was_read_shortly_before_is_known_while_the_store_is_away(
    behind: Authenticator, network: LossyProxy, clock: Clock, gateway: Gateway
) -> None:
    before = behind.authenticate(bearer(gateway.key))
    take_away(network)

    clock.elapsed_ms += REMEMBERED_MS
    assert behind.authenticate(bearer(gateway.key)) == before
    clock.elapsed_ms += 1
    with pytest.raises(PolicyUnavailable) as caught:
        behind.authenticate(bearer(gateway.key))

    assert caught.value.headers()["retry-after"] == "1"


def test_use_while_the_store_is_away_makes_a_key_be_remembered_no_longer(
    behind: Authenticator, network: LossyProxy, clock: Clock, gateway: Gateway
) -> None:
    behind.authenticate(bearer(gateway.key))
    take_away(network)
    for _ in range(2):
        clock.elapsed_ms += REMEMBERED_MS // 2
        behind.authenticate(bearer(gateway.key))

    clock.elapsed_ms += 1

    with pytest.raises(PolicyUnavailable):
        behind.authenticate(bearer(gateway.key))


def test_a_key_that_was_seen_revoked_is_not_remembered_as_it_was(
    behind: Authenticator, network: LossyProxy, gateway: Gateway
) -> None:
    behind.authenticate(bearer(gateway.key))
    gateway.new_key(id=gateway.key_record.id, digest=gateway.key_record.digest, version=2, active=False)
    with pytest.raises(InvalidApiKey):
        behind.authenticate(bearer(gateway.key))

    take_away(network)

    with pytest.raises(PolicyUnavailable):
        behind.authenticate(bearer(gateway.key))


def test_a_key_that_expires_while_the_store_is_away_is_no_longer_known(network: LossyProxy, gateway: Gateway) -> None:
    _, key = gateway.new_key(expires_at_ms=1000)
    clock_ms = [999]
    store = Store.from_url(network.url, timeout_ms=2000)
    authenticator = Authenticator(store, key_pepper=PEPPER, now_ms=lambda: clock_ms[0])
    authenticator.authenticate(bearer(key))
    take_away(network)
    authenticator.authenticate(bearer(key))

    clock_ms[0] = 1000

    with pytest.raises(PolicyUnavailable):
        authenticator.authenticate(bearer(key))
    store.close()


def test_while_the_store_is_away_nobody_learns_which_keys_exist(
    behind: Authenticator, network: LossyProxy, gateway: Gateway
) -> None:
    behind.authenticate(bearer(gateway.key))
    _, never_used = gateway.new_key()
    _, unknown = issue_key()
    forged = with_secret_of(unknown, gateway.key)
    take_away(network)

    messages = set()
    for key in (never_used, unknown, forged):
        with pytest.raises(PolicyUnavailable) as caught:
            behind.authenticate(bearer(key))
        messages.add(caught.value.message)

    assert len(messages) == 1


def with_secret_of(other: str, key: str) -> str:
    """A key with the id of one and the secret of another, and a checksum that fits."""
    body = "_".join([*key.split("_")[:2], other.split("_")[2]])
    return f"{body}_{checksum(body)}"


def test_the_store_is_asked_again_as_soon_as_it_answers(
    behind: Authenticator, network: LossyProxy, gateway: Gateway
) -> None:
    behind.authenticate(bearer(gateway.key))
    take_away(network)
    behind.authenticate(bearer(gateway.key))
    gateway.new_key(id=gateway.key_record.id, digest=gateway.key_record.digest, version=2, active=False)
    network.answers_to_lose = 0

    def is_refused() -> bool:
        try:
            behind.authenticate(bearer(gateway.key))
        except InvalidApiKey:
            return True
        return False

    eventually(is_refused, "the store says that it was revoked")
