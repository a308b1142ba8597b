"""The ten faults that the suite is held against can still be planted."""

from __future__ import annotations

import pytest

from benchmarks.planted_faults import FAULTS, ROOT, Fault, place_of


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.says for fault in FAULTS])
def test_a_fault_has_its_place_and_its_tests(fault: Fault) -> None:
    """Its text stands once below bench/: a change there takes the list with it."""
    assert place_of(ROOT, fault).is_file()
    assert (ROOT / fault.tests).is_file()
