"""docs/asyncapi.json is AsyncAPI 3 by its authors' own JSON Schema, and real messages are what it says they are."""

import copy
import json
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.asyncapi import document
from slipway_contracts.envelope import EVENT_TYPES, sequence_text
from slipway_contracts.testing import a_cluster_spec

ROOT = Path(__file__).parents[2]
SPECS = "@asyncapi/specs@6.11.1"
CACHE = ROOT / ".slipway" / "asyncapi-specs-6.11.1"
SCHEMA = "package/schemas/3.0.0-without-$id.json"


@pytest.fixture(scope="session")
def validator() -> Draft7Validator:
    """AsyncAPI's own schema of its documents, from npm; fetched once."""
    if not (CACHE / SCHEMA).exists():
        _fetch()
    return Draft7Validator(json.loads((CACHE / SCHEMA).read_text()))


def _fetch() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"AsyncAPI's schema comes from npm, which is not here: {SPECS}")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        packed = subprocess.run([npm, "pack", SPECS], cwd=CACHE, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not answer: {SPECS} cannot be fetched")
    if packed.returncode != 0:
        pytest.skip(f"npm does not give {SPECS}: {packed.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(CACHE / packed.stdout.split()[-1]) as archive:
        archive.extract(SCHEMA, CACHE, filter="data")


def test_it_is_asyncapi_3(validator: Draft7Validator) -> None:
    assert [error.message for error in validator.iter_errors(document())] == []


def test_the_schema_would_find_a_mistake(validator: Draft7Validator) -> None:
    broken = copy.deepcopy(document())
    del broken["operations"]["monitor.node.unhealthy.v1"]["channel"]
    assert list(validator.iter_errors(broken))


def test_it_has_every_event_and_each_reference_leads_somewhere() -> None:
    whole = document()
    assert set(whole["channels"]) == {event.ROUTING for event in EVENT_TYPES.values()}
    said = {f"{owner}.{event.ROUTING}" for event in EVENT_TYPES.values() for owner in event.OWNERS}
    assert set(whole["operations"]) == said

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [each for value in part.values() for each in references(value)]
        return [each for value in part for each in references(value)] if isinstance(part, list) else []

    for reference in references(whole):
        place = whole
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_a_real_message_is_what_it_says() -> None:
    event = ClusterSpecChanged(
        id="0199", type=ClusterSpecChanged.TYPE, source="api/global", subject="clusters/c1", region="tokyo",
        time=datetime.now(UTC), sequence=sequence_text(1), data=a_cluster_spec("c1"),
    )  # fmt: skip
    whole = document()
    schema = {"$ref": "#/components/schemas/ClusterSpecChanged", "components": whole["components"]}
    check = Draft202012Validator(schema)
    message = event.model_dump(mode="json")
    assert [error.message for error in check.iter_errors(message)] == []
    assert list(check.iter_errors({**message, "sequence": "one"}))
