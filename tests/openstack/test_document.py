"""docs/openstack.md says what the code does: its example is read, its tables are compared."""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel

from slipway_chassis.regions import Endpoint, Reach, Region, Regions
from slipway_contracts.values import Role
from slipway_provisioner.domain.security_groups import rules_of
from slipway_provisioner.ports_table import NEUTRONS_OWN_RULES
from tests.lab import ROLES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "openstack.md").read_text()

Rows = list[tuple[str, ...]]


def test_the_example_of_a_region_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    (example,) = [block for block in blocks if "\n  - name:" in block]
    (machines,) = [block for block in blocks if block.startswith("    node_specs:")]
    (region,) = Regions.model_validate(yaml.safe_load(example + machines)).regions
    assert region.model_fields_set == set(Region.model_fields) - {"auth_url"}


def test_every_field_of_a_region_is_explained() -> None:
    explained = {row[0].strip("`") for row in table("| field | default | meaning |")}
    assert explained == set(fields(Region))


def test_defaults_are_told_as_they_are() -> None:
    told = {row[0].strip("`"): row[1] for row in table("| field | default | meaning |")}
    for name, default in fields(Region).items():
        if isinstance(default, bool | int | float | str):
            assert told[name] == f"`{str(default).lower().removesuffix('.0')}`", name


def test_an_endpoint_behind_floating_ips_is_valid() -> None:
    (line,) = re.findall(r"^    endpoint: (.*floating_network.*)$", DOCUMENT, re.MULTILINE)
    assert Endpoint.model_validate(yaml.safe_load(line)).reach is Reach.FLOATING_IP


def test_the_number_of_rules_is_right() -> None:
    rules = sum(len(rules_of(role)) + NEUTRONS_OWN_RULES for role in Role)
    needed = {row[0]: row[1] for row in table("| resource | needed | 5+3+3 | stock default |")}
    assert needed["security group rules"] == str(rules)
    assert needed["security groups"] == str(len(Role))


def test_the_roles_are_those_that_the_service_user_of_these_tests_has() -> None:
    granted = re.findall(r"openstack role add --user slipway .* --inherited (\S+)", DOCUMENT)
    assert tuple(granted) == ROLES


def table(head: str) -> Rows:
    """The rows of the table with this head."""
    lines = DOCUMENT.partition(f"{head}\n")[2].splitlines()[1:]
    end = next(index for index, line in enumerate(lines) if not line.startswith("|"))
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[:end]]


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Names of all fields, those of sections with a dot, and their defaults."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= fields(field.annotation, f"{name}.")
        else:
            found[prefix + name] = field.default
    return found
