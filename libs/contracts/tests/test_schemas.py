"""Contracts only grow: the committed snapshots against the code, and the rules themselves."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_contracts.envelope import sequence_text
from slipway_contracts.provisioner import NodeCreated
from slipway_contracts.schemas import current_schemas, incompatibilities, read_schemas

FOLDER = Path(__file__).parents[1] / "schemas"


def test_no_contract_changed_incompatibly() -> None:
    assert incompatibilities(read_schemas(FOLDER), current_schemas()) == []


def test_the_snapshots_are_those_of_the_code() -> None:
    assert read_schemas(FOLDER) == json.loads(json.dumps(current_schemas())), "run `make schemas` and commit"


def changed(path: tuple[str, ...], edit: Any) -> dict[str, Any]:
    schemas = copy.deepcopy(current_schemas())
    place = schemas[NodeCreated.TYPE]
    for key in path:
        place = place[key]
    edit(place)
    return schemas


@pytest.mark.parametrize(
    ("path", "edit", "expected"),
    [
        (("$defs", "NodeState"), lambda at: at["properties"].pop("phase"), "phase: the field was removed"),
        (
            ("$defs", "NodeState", "properties", "percent"),
            lambda at: at.update(type="string"),
            "percent: type was 'integer', is 'string'",
        ),
        (("$defs", "NodePhase"), lambda at: at["enum"].remove("booting"), "values removed: ['booting']"),
        (
            ("$defs", "NodeState"),
            lambda at: (at["properties"].update(price={"type": "string"}), at["required"].append("price")),
            "price: a new field must be optional",
        ),
    ],
    ids=["a removed field", "another type", "a removed value", "a new required field"],
)
def test_an_incompatible_change_is_named(path: tuple[str, ...], edit: Any, expected: str) -> None:
    problems = incompatibilities(current_schemas(), changed(path, edit))
    assert any(expected in problem for problem in problems), problems


def test_a_new_optional_field_is_compatible() -> None:
    grown = changed(
        ("$defs", "NodeState", "properties"), lambda at: at.update(price={"type": "string", "default": "0"})
    )
    assert incompatibilities(current_schemas(), grown) == []


@given(st.integers(min_value=0, max_value=10**20 - 1), st.integers(min_value=0, max_value=10**20 - 1))
def test_sequences_sort_as_text_as_they_do_as_numbers(one: int, other: int) -> None:
    assert (sequence_text(one) < sequence_text(other)) == (one < other)
