"""The addons' objects: whole, as golden files; and what must hold of all of them.

A change of an addon is reviewed as a change of its golden file: SLIPWAY_UPDATE_GOLDEN=1 writes them anew.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_addon_manager.domain.definitions import DEFINITIONS, define_addons
from slipway_addon_manager.domain.model import ADDON_LABEL, Addon, Endpoint, Inputs
from slipway_addon_manager.domain.rbac import binding_name
from slipway_addon_manager.testing import some_inputs
from slipway_chassis.regions import Machine
from slipway_contracts.api import ClusterUser, Persona

GOLDEN = Path(__file__).parent / "golden"
ALICE = ClusterUser(name="alice@1f2e", persona=Persona.MEMBER)
ODD = ClusterUser(name="Łukasz / ops%@9", persona=Persona.READER)
NAMES = ("rbac", "kube-proxy", "flannel", "coredns")


class _Readable(yaml.SafeDumper):
    """Texts of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def addon(name: str, inputs: Inputs | None = None) -> Addon:
    return next(each for each in define_addons(inputs or some_inputs()) if each.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_objects_are_as_reviewed(name: str) -> None:
    inputs = some_inputs(Machine(conntrack_max_per_core=0, conntrack_min=0), users=[ALICE, ODD])
    text = yaml.dump_all(
        addon(name, inputs).manifests, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120
    )
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_order_is_people_services_network_names() -> None:
    assert tuple(each.name for each in define_addons(some_inputs())) == NAMES


def test_every_object_carries_the_labels_that_allow_to_delete_it() -> None:
    for each in define_addons(some_inputs(users=[ALICE])):
        for manifest in each.manifests:
            labels = manifest["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "slipway"
            assert labels[ADDON_LABEL] == each.name


def test_no_two_addons_have_an_object_in_common() -> None:
    references = [reference for each in define_addons(some_inputs(users=[ALICE])) for reference in each.references]
    assert len(references) == len(set(references))


def test_the_same_inputs_give_the_same_version() -> None:
    assert define_addons(some_inputs(users=[ALICE])) == define_addons(some_inputs(users=[ALICE]))


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"users": [ALICE]}, {"rbac"}),
        ({"pod_cidr": "10.200.0.0/16"}, {"kube-proxy", "flannel"}),
        ({"service_cidr": "10.97.0.0/16"}, {"coredns"}),
        ({"dns_domain": "corp.example"}, {"coredns"}),
        ({"name": "other"}, set()),
        ({"generation": 7}, set()),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_a_version_moves_exactly_with_its_objects(change: dict[str, Any], changed: set[str]) -> None:
    before = {each.name: each.version for each in define_addons(some_inputs())}
    after = {each.name: each.version for each in define_addons(some_inputs(**change))}
    assert {name for name in NAMES if before[name] != after[name]} == changed


def test_versions_name_the_image_or_the_release() -> None:
    starts = {each.name: each.version.rpartition("-")[0] for each in define_addons(some_inputs())}
    assert starts == {"rbac": "v1.36.3", "kube-proxy": "v1.36.3", "flannel": "v0.28.10", "coredns": "v1.14.2"}


def test_a_new_configuration_rolls_the_pods() -> None:
    def template(inputs: Inputs) -> Any:
        return next(
            each["spec"]["template"] for each in addon("kube-proxy", inputs).manifests if each["kind"] == "DaemonSet"
        )

    assert template(some_inputs(endpoint="https://10.0.0.5:6443")) != template(some_inputs())


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(), None),
        (Machine(conntrack_max_per_core=0), {"maxPerCore": 0}),
        (Machine(conntrack_max_per_core=0, conntrack_min=0), {"maxPerCore": 0, "min": 0}),
    ],
    ids=["the kernel's own limits are left alone", "one limit", "both limits"],
)
def test_conntrack_is_what_the_region_says(machine: Machine, expected: Any) -> None:
    config = next(each for each in addon("kube-proxy", some_inputs(machine)).manifests if each["kind"] == "ConfigMap")
    assert yaml.safe_load(config["data"]["config.yaml"]).get("conntrack") == expected


@pytest.mark.parametrize(
    ("persona", "role"),
    [(Persona.ADMIN, "cluster-admin"), (Persona.MEMBER, "cluster-admin"), (Persona.READER, "view")],
)
def test_a_persona_gets_its_role(persona: Persona, role: str) -> None:
    person = ClusterUser(name="bob@2", persona=persona)
    binding = next(
        each
        for each in addon("rbac", some_inputs(users=[person])).manifests
        if each["metadata"]["name"] == binding_name(person)
    )
    assert binding["roleRef"]["name"] == role
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob@2"}]


def test_another_persona_is_another_binding() -> None:
    reader, member = (ClusterUser(name="bob@2", persona=each) for each in (Persona.READER, Persona.MEMBER))
    assert binding_name(reader) != binding_name(member)


def test_a_person_listed_twice_is_bound_once() -> None:
    twice = [ClusterUser(name="bob@2", persona=each) for each in (Persona.ADMIN, Persona.MEMBER)]
    manifests = addon("rbac", some_inputs(users=twice)).manifests
    assert sum(1 for each in manifests if each["metadata"]["name"].startswith("slipway:user:")) == 1


def test_nobody_is_bound_to_a_group_or_to_masters() -> None:
    text = yaml.safe_dump_all(addon("rbac", some_inputs(users=[ALICE, ODD])).manifests)
    assert "kind: Group" not in text
    assert "system:masters" not in text


def test_every_definition_says_where_its_version_comes_from() -> None:
    assert [definition.images[:1] for definition in DEFINITIONS] == [(), ("kube_proxy",), ("flannel",), ("coredns",)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://10.0.0.4:6443", Endpoint("10.0.0.4", 6443)),
        ("https://api.example", Endpoint("api.example", 443)),
        ("https://[fd00::4]:6443", Endpoint("fd00::4", 6443)),
    ],
)
def test_endpoints_are_read(url: str, expected: Endpoint) -> None:
    assert Endpoint.of(url) == expected
    assert Endpoint.of(expected.url) == expected


@pytest.mark.parametrize("url", ["http://10.0.0.4:6443", "10.0.0.4:6443", ""])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no https URL"):
        Endpoint.of(url)
