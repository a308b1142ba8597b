"""What was judged stays as it was."""

from __future__ import annotations

import dataclasses
import pkgutil
from importlib import import_module
from importlib.util import find_spec, module_from_spec

import pytest

import bench.judge

MODULES = [
    found.name
    for found in pkgutil.walk_packages(bench.judge.__path__, "bench.judge.")
    if not found.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_records_of_the_judge_cannot_be_changed(name: str) -> None:
    """Every dataclass of a module of judge, loaded afresh, is frozen."""
    import_module(name)  # its names have to resolve
    spec = find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    records = [
        each
        for each in vars(module).values()
        if dataclasses.is_dataclass(each) and each.__module__ == name
    ]
    assert [each for each in records if not each.__dataclass_params__.frozen] == []  # type: ignore[union-attr]
