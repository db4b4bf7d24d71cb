"""Virtual keys: made once, recognised without a look-up, stored only as a digest."""

from __future__ import annotations

import string

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.llm.keys import KeyRecord, issue_key, key_digest, key_id_of

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
    record = record_of(key_id, key)
    assert record.generation_of(key_digest(key, PEPPER), at_ms=0) == 1
    assert record.generation_of(key_digest(other, PEPPER), at_ms=0) is None
    assert record.generation_of(key_digest(key, "another pepper"), at_ms=0) is None


def test_a_new_secret_goes_beside_the_former_until_that_ends() -> None:
    key_id, former = issue_key()
    same_id, newest = issue_key(key_id)
    assert (same_id, key_id_of(newest)) == (key_id, key_id)
    assert newest != former
    digests = [key_digest(key, PEPPER) for key in (former, newest)]
    rotated = msgspec.structs.replace(
        record_of(key_id, newest), generation=2, former_digest=digests[0], former_until_ms=1000
    )
    ended = msgspec.structs.replace(rotated, former_digest=None, former_until_ms=None)

    def known(record: KeyRecord, at_ms: int) -> list[int | None]:
        found = [record.generation_of(digest, at_ms=at_ms) for digest in digests]
        assert [record.has_secret(generation, at_ms=at_ms) for generation in (1, 2)] == [
            generation is not None for generation in found
        ]
        return found

    assert known(rotated, 999) == [1, 2]
    assert known(rotated, 1000) == known(ended, 999) == [None, 2]
    assert not rotated.has_secret(0, at_ms=999)


def test_a_record_says_only_what_is_not_as_by_default() -> None:
    """So that a gateway of before a field was added reads every key that does not need it."""
    written = msgspec.json.decode(msgspec.json.encode(record_of("0123456789ab", "bsr_x")))

    assert set(written) == {"id", "version", "digest", "organization", "team", "name", "tier", "active"}


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
