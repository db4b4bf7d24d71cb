"""The planted faults fit the scripts as they are; whether the tests find them is what `make mutants` says."""

from __future__ import annotations

import pytest

from kong_plugins.llm.scripts import lua_file
from tests.llm.store.faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_still_be_planted(fault: Fault) -> None:
    assert lua_file(fault.script).count(fault.right) == 1
    assert fault.wrong != fault.right


def test_each_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
