"""Provider credentials open only with the right key, for the right id."""

from __future__ import annotations

import base64

import pytest

from kong_plugins.llm.credentials import new_credential_key, open_credential, seal_credential

KEY = new_credential_key()
SECRET = "sk-provider-secret"


def test_a_sealed_credential_opens_again_and_never_looks_the_same_twice() -> None:
    first = seal_credential(SECRET, credential_id="one", credential_key=KEY)
    second = seal_credential(SECRET, credential_id="one", credential_key=KEY)

    assert open_credential(first, credential_id="one", credential_key=KEY) == SECRET
    assert first != second
    assert SECRET not in first


@pytest.mark.parametrize(
    ("credential_id", "credential_key"), [("two", KEY), ("one", new_credential_key())], ids=["swapped", "other-key"]
)
def test_a_credential_does_not_open_for_another_id_or_with_another_key(credential_id: str, credential_key: str) -> None:
    sealed = seal_credential(SECRET, credential_id="one", credential_key=KEY)

    with pytest.raises(ValueError, match="sealed"):
        open_credential(sealed, credential_id=credential_id, credential_key=credential_key)


@pytest.mark.parametrize("sealed", ["", "v2:AAAA", "v1:not base64", "v1:" + base64.b64encode(bytes(40)).decode()])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(ValueError, match="credential"):
        open_credential(sealed, credential_id="one", credential_key=KEY)


@pytest.mark.parametrize("credential_key", ["", "short", base64.b64encode(bytes(5)).decode()])
def test_a_key_that_is_no_key_is_named_as_the_setting_to_fix(credential_key: str) -> None:
    with pytest.raises(ValueError, match="BURSAR_CREDENTIAL_KEY"):
        seal_credential(SECRET, credential_id="one", credential_key=credential_key)
