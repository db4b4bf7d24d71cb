"""Virtual keys: made once, recognised without a look-up, stored only as a digest."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.keys import KeyRecord, issue_key, key_digest, key_id_of, key_matches

PEPPER = "pepper"


def record_of(key_id: str, key: str) -> KeyRecord:
    return KeyRecord(
        id=key_id,
        version=1,
        digest=key_digest(key, PEPPER),
        organization="acme",
        team="search",
        name="search-prod",
        tier="normal",
        active=True,
    )


def test_an_issued_key_carries_its_id_and_matches_only_its_own_record() -> None:
    key_id, key = issue_key()
    other_id, other = issue_key()

    assert key_id_of(key) == key_id != other_id
    assert key_matches(key, record_of(key_id, key), PEPPER)
    assert not key_matches(other, record_of(key_id, key), PEPPER)
    assert not key_matches(key, record_of(key_id, key), "another pepper")


def test_the_stored_digest_holds_nothing_of_the_secret() -> None:
    _, key = issue_key()

    assert key.split("_")[2] not in key_digest(key, PEPPER)


@given(st.data())
def test_a_key_with_one_wrong_character_is_refused_without_a_look_up(data: st.DataObject) -> None:
    _, key = issue_key()
    at = data.draw(st.integers(0, len(key) - 1))
    character = data.draw(st.sampled_from(string.printable).filter(lambda character: character != key[at]))

    assert key_id_of(key[:at] + character + key[at + 1 :]) is None


@given(st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    assert key_id_of(text) is None
