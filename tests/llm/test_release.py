"""The policy document: what was published is what is read, or it is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from kong_plugins.llm.prices import LaterPrice, Variant
from kong_plugins.llm.release import Deployment, Limit, Scope, content_checksum, decode_policy, encode_policy
from tests.llm.cast import PRICE, deployment, policy


def test_a_published_document_reads_back_as_it_was() -> None:
    document = policy()

    read = decode_policy(encode_policy(document))

    assert msgspec.structs.replace(read, checksum="") == document


def test_equal_content_has_an_equal_checksum_whatever_its_number_and_author() -> None:
    again = msgspec.structs.replace(policy(), number=99, created_by="bob")

    assert content_checksum(policy()) == content_checksum(again)
    assert content_checksum(policy()) != content_checksum(msgspec.structs.replace(policy(), time_zone="UTC"))


def test_a_document_that_was_changed_afterwards_is_refused() -> None:
    data = encode_policy(policy()).replace(b'"tier":"normal"', b'"tier":"critical"')

    with pytest.raises(ValueError, match="checksum"):
        decode_policy(data)


def test_a_document_of_an_older_version_that_knew_fewer_members_is_still_read() -> None:
    rules = (Limit(id="l", scope=Scope(kind="team", subject=None), unit="requests", amount=1, window_ms=1000),)
    older = msgspec.json.decode(encode_policy(policy(limits=rules)))
    del older["limits"][0]["scope"]["provider"], older["limits"][0]["scope"]["tag"]
    content = older | {"number": 0, "checksum": "", "created_by": ""}
    older["checksum"] = hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    assert decode_policy(msgspec.json.encode(older)).limits == rules


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format":2}'])
def test_what_is_no_policy_document_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_policy(data)


def test_a_member_that_this_version_does_not_know_is_refused() -> None:
    data = encode_policy(policy()).replace(b'{"', b'{"future":1,"', 1)

    with pytest.raises(ValueError, match="future"):
        decode_policy(data)


def test_a_later_price_holds_from_its_instant_on() -> None:
    second, third = (msgspec.structs.replace(PRICE, version=version) for version in ("second", "third"))
    later = (LaterPrice(from_ms=1_000, price=second), LaterPrice(from_ms=5_000, price=third))

    found = deployment(later_prices=later)
    unpriced = deployment(price=None, later_prices=later)

    versions = [price.version if (price := found.price_at(at_ms)) else None for at_ms in (999, 1_000, 4_999, 5_000)]
    assert versions == [PRICE.version, "second", "second", "third"]
    assert unpriced.price_at(999) is None
    assert unpriced.price_at(5_000) == third


def test_a_price_with_times_of_day_is_the_one_of_the_moment() -> None:
    fields: dict[str, Any] = {"cache_read_nusd": 1, "cache_write_nusd": 1, "output_nusd": 1}
    first_hour = Variant(input_nusd=7, from_minute=0, until_minute=60, **fields)
    found = deployment(price=msgspec.structs.replace(PRICE, variants=(first_hour,)))

    prices = [found.price_at(at_ms) for at_ms in (3_599_999, 3_600_000)]

    assert [price.input_nusd for price in prices if price] == [7, PRICE.input_nusd]
    assert read_back(found) == found


def read_back(found: Deployment) -> Deployment:
    document = decode_policy(encode_policy(policy(deployments=(found,))))
    return document.deployments[0]
