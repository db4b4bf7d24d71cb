"""Provider credentials open only with the right key, for the right id, and survive a change of the master key."""

from __future__ import annotations

import base64

import pytest

from kong_plugins.llm.credentials import (
    credential_key_ids,
    new_credential_key,
    open_credential,
    rewrap_credential,
    seal_credential,
)

KEY = new_credential_key()
NEW_KEY = new_credential_key()
SECRET = "sk-provider-secret"


def sealed(credential_key: str = KEY) -> str:
    return seal_credential(SECRET, credential_id="one", credential_key=credential_key)


def opened(text: str, credential_key: str = KEY) -> str:
    return open_credential(text, credential_id="one", credential_key=credential_key)


def test_a_sealed_credential_opens_again_and_never_looks_the_same_twice() -> None:
    first, second = sealed(), sealed()

    assert opened(first) == SECRET
    assert not set(first.split(":")[2:]) & set(second.split(":")[2:])
    assert SECRET not in first


@pytest.mark.parametrize(
    ("credential_id", "credential_key"), [("two", KEY), ("one", new_credential_key())], ids=["swapped", "other-key"]
)
def test_a_credential_does_not_open_for_another_id_or_with_another_key(credential_id: str, credential_key: str) -> None:
    with pytest.raises(ValueError, match="sealed"):
        open_credential(sealed(), credential_id=credential_id, credential_key=credential_key)


def test_the_parts_of_two_credentials_cannot_be_put_together() -> None:
    one = sealed().split(":")
    two = seal_credential("sk-other", credential_id="two", credential_key=KEY).split(":")
    [same] = credential_key_ids(KEY)
    assert one[1] == two[1] == same

    for mixed in ((*one[:3], two[3]), (*two[:3], one[3])):
        with pytest.raises(ValueError, match="for another id"):
            opened(":".join(mixed))


@pytest.mark.parametrize(
    "text",
    ["", "v1:AAAA", "v2:AAAA", "v2:a:not base64:AAAA", "v2:a:AAAA:not base64", "v2:a:AAAA:AAAA:AAAA"],
)
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(ValueError, match="credential"):
        opened(text)


def test_what_is_cut_short_does_not_open() -> None:
    version, master_id, _, secret = sealed().split(":")

    with pytest.raises(ValueError, match="credential"):
        opened(":".join((version, master_id, "AAAA", secret)))


@pytest.mark.parametrize(
    "credential_key",
    ["", " ,\n", "short", base64.b64encode(bytes(16)).decode(), f"{KEY},short"],
    ids=["absent", "blank", "text", "too-short", "only-one-of-two"],
)
def test_a_key_that_is_no_key_is_named_as_the_setting_to_fix(credential_key: str) -> None:
    with pytest.raises(ValueError, match="BURSAR_CREDENTIAL_KEY"):
        sealed(credential_key)


@pytest.mark.parametrize("separator", [",", " ", "\n", ", "])
def test_of_several_keys_the_first_seals_and_every_one_opens(separator: str) -> None:
    both = f"{NEW_KEY}{separator}{KEY}"

    assert credential_key_ids(both) == (*credential_key_ids(NEW_KEY), *credential_key_ids(KEY))
    assert opened(sealed(KEY), both) == opened(sealed(NEW_KEY), both) == SECRET
    assert opened(sealed(both), NEW_KEY) == SECRET


def test_a_credential_moves_to_the_first_key_with_its_secret_untouched_and_then_needs_no_other() -> None:
    before = sealed(KEY)
    moved = rewrap_credential(before, credential_id="one", credential_key=f"{NEW_KEY},{KEY}")

    assert moved.split(":")[3] == before.split(":")[3]
    assert opened(moved, NEW_KEY) == SECRET
    with pytest.raises(ValueError, match=f"the key {credential_key_ids(NEW_KEY)[0]}, which"):
        opened(moved, KEY)
    assert rewrap_credential(moved, credential_id="one", credential_key=f"{NEW_KEY},{KEY}") == moved


def test_a_credential_moves_only_where_its_own_key_is_still_at_hand() -> None:
    with pytest.raises(ValueError, match=f"the key {credential_key_ids(KEY)[0]}, which"):
        rewrap_credential(sealed(KEY), credential_id="one", credential_key=NEW_KEY)
