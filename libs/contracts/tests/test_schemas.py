"""Contracts only grow: the committed snapshots against the code, and the rules themselves."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slipway_contracts.agent import Claim, File
from slipway_contracts.envelope import sequence_text
from slipway_contracts.provisioner import NodeCreated
from slipway_contracts.schemas import current_schemas, incompatibilities, main, read_schemas, write_schemas

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
        (
            ("$defs", "NodeState", "properties", "notices"),
            lambda at: at.update(maxItems=3),
            "notices: maxItems was None, is 3",
        ),
    ],
    ids=["a removed field", "another type", "a removed value", "a new required field", "a shorter list"],
)
def test_an_incompatible_change_is_named(path: tuple[str, ...], edit: Any, expected: str) -> None:
    problems = incompatibilities(current_schemas(), changed(path, edit))
    assert any(expected in problem for problem in problems), problems


def test_snapshots_are_not_written_over_an_incompatible_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_schemas(tmp_path)
    file = tmp_path / f"{NodeCreated.TYPE}.json"
    before = json.loads(file.read_text())
    before["properties"]["price"] = {"type": "string"}
    file.write_text(json.dumps(before))
    assert main(["write", str(tmp_path)]) == 1
    assert "price: the field was removed" in capsys.readouterr().err
    assert json.loads(file.read_text()) == before
    file.unlink()
    assert main(["write", str(tmp_path)]) == 0
    assert main(["check", str(tmp_path)]) == 0


def test_no_secret_of_the_agents_protocol_is_shown() -> None:
    file = File(path="/etc/kubernetes/pki/sa.key", content="hidden")
    claim = {
        "token": "hidden",
        "node_id": "n1",
        "csr_pem": "csr",
        "hostname": "n1",
        "agent_version": "1",
        "boot_id": "b",
    }
    with pytest.raises(ValidationError, match="clock") as wrong:
        Claim.model_validate(claim)
    assert "hidden" not in f"{file!r} {Claim(clock='2026-01-01T00:00:00Z', **claim)!r} {wrong.value}"


def test_a_new_optional_field_is_compatible() -> None:
    grown = changed(
        ("$defs", "NodeState", "properties"), lambda at: at.update(price={"type": "string", "default": "0"})
    )
    assert incompatibilities(current_schemas(), grown) == []


@given(st.integers(min_value=0, max_value=10**20 - 1), st.integers(min_value=0, max_value=10**20 - 1))
def test_sequences_sort_as_text_as_they_do_as_numbers(one: int, other: int) -> None:
    assert (sequence_text(one) < sequence_text(other)) == (one < other)
