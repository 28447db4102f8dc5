"""The plans of the three roles: whole, as golden files; and what must hold of every plan.

A change of a plan is reviewed as a change of its golden file: SLIPWAY_UPDATE_GOLDEN=1 writes them anew.
"""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_chassis.regions import Machine
from slipway_chassis.releases import OPTIONAL_PACKAGES
from slipway_contracts.agent import (
    Certificate,
    Command,
    File,
    Package,
    Plan,
    PlanStep,
    ProgramVersion,
    Remove,
    Unit,
    UnitFile,
)
from slipway_contracts.api import NodeSpec, Taint
from slipway_contracts.values import Reason, Role
from slipway_provisioner.domain.cluster_keys import make_cluster_keys
from slipway_provisioner.domain.kubernetes_nodes import may_register
from slipway_provisioner.domain.plans.kubelet import registered_labels
from slipway_provisioner.domain.plans.model import Endpoint, PlanInputs, RenderedPlan
from slipway_provisioner.domain.plans.packages import takes_packages
from slipway_provisioner.domain.plans.render import decide_plan, render_plan
from slipway_provisioner.domain.plans.testing import (
    CLUSTER_ID,
    STARTED_AT,
    a_pool,
    a_release,
    a_spec,
    plan_inputs,
    sample_keys,
)

GOLDEN = Path(__file__).parent / "golden"


class _Readable(yaml.SafeDumper):
    """Texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def readable(plan: RenderedPlan) -> str:
    """The plan and what is signed for it, with every key and digest of a key named instead of shown."""
    keys = sample_keys()
    named = {each.certificate_pem: f"<{name} CA>" for name, each in keys.authorities.items()}
    named[keys.service_accounts.private_pem] = "<service accounts' key>"
    named[keys.service_accounts.public_pem] = "<service accounts' public key>"
    named[keys.encryption_key] = "<encryption key>"

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "<generation>" if key == "generation" else clean(each) for key, each in value.items()}
        if isinstance(value, list):
            return [clean(each) for each in value]
        if isinstance(value, str):
            for secret, name in named.items():
                value = value.replace(secret, name)
        return value

    document = {
        "steps": [clean(step.model_dump(mode="json", exclude_defaults=False)) for step in plan.steps],
        "certificates": {name: profile.model_dump(mode="json") for name, profile in plan.profiles.items()},
    }
    return yaml.dump(document, Dumper=_Readable, sort_keys=False, width=120)


@pytest.mark.parametrize("role", list(Role))
def test_the_plan_is_the_golden_one(role: Role) -> None:
    text = readable(render_plan(plan_inputs(role)))
    file = GOLDEN / f"plan_{role}.yaml"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_what_an_image_may_lack_is_the_golden_one() -> None:
    """These actions alone: the rest of the plan is the one above."""
    plan = render_plan(plan_inputs(Role.WORKER, release=a_release(packages=True)))
    added = [action for _, action in actions(plan) if isinstance(action, Package | UnitFile)]
    text = yaml.dump([each.model_dump(mode="json") for each in added], Dumper=_Readable, sort_keys=False, width=120)
    file = GOLDEN / "packages.yaml"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def actions(plan: RenderedPlan) -> list[tuple[PlanStep, Any]]:
    return [(step, action) for step in plan.steps for action in step.actions]


def whole(plan: RenderedPlan) -> str:
    return Plan(node_id="n", revision=1, steps=plan.steps).model_dump_json()


def content_of(plan: RenderedPlan, path: str) -> str:
    return next(action.content for _, action in actions(plan) if isinstance(action, File) and action.path == path)


@pytest.mark.parametrize("role", list(Role))
def test_the_same_inputs_give_the_same_plan(role: Role) -> None:
    assert render_plan(plan_inputs(role)) == render_plan(plan_inputs(role))


@pytest.mark.parametrize("role", list(Role))
def test_no_authoritys_key_is_in_any_plan(role: Role) -> None:
    text = whole(render_plan(plan_inputs(role)))
    for authority in sample_keys().authorities.values():
        body = authority.key_pem.splitlines()[1]
        assert body not in text


@pytest.mark.parametrize("role", [Role.ETCD, Role.WORKER])
def test_cluster_wide_secrets_go_to_controllers_only(role: Role) -> None:
    keys = sample_keys()
    secrets = (keys.service_accounts.private_pem.splitlines()[1], keys.encryption_key)
    controllers = whole(render_plan(plan_inputs(Role.CONTROLLER)))
    assert all(secret in controllers for secret in secrets)
    assert not any(secret in whole(render_plan(plan_inputs(role))) for secret in secrets)


@pytest.mark.parametrize("role", list(Role))
def test_each_certificate_of_a_plan_has_a_profile_and_no_other_is_signed(role: Role) -> None:
    plan = render_plan(plan_inputs(role))
    assert {action.name for _, action in actions(plan) if isinstance(action, Certificate)} == set(plan.profiles)


@pytest.mark.parametrize("role", list(Role))
def test_private_files_are_private(role: Role) -> None:
    for _, action in actions(render_plan(plan_inputs(role))):
        if isinstance(action, File) and re.search(r"PRIVATE KEY|secretbox", action.content):
            assert action.mode == 0o600, action.path


def test_nobody_gets_masters_rights_from_a_plan() -> None:
    for role in Role:
        for name, profile in render_plan(plan_inputs(role)).profiles.items():
            assert "system:masters" not in profile.organizations, name
            assert "kubeadm:cluster-admins" not in profile.organizations, name


def test_kubeadms_admin_files_are_made_used_and_removed_in_one_step() -> None:
    plan = render_plan(plan_inputs(Role.CONTROLLER))
    for name in ("admin", "super-admin"):
        step, entry = next(
            (step, action) for step, action in actions(plan) if isinstance(action, Certificate) and action.name == name
        )
        removed = {action.path for action in step.actions if isinstance(action, Remove)}
        assert {entry.kubeconfig_path, entry.key_path, entry.cert_path} <= removed
        kinds = [type(action) for action in step.actions]
        assert kinds.index(Command) < kinds.index(Remove), "removed after kubeadm ran"
        assert plan.profiles[name].lifetime.total_seconds() == 600


def generations(plan: RenderedPlan) -> dict[str, int]:
    return {action.name: action.generation for _, action in actions(plan) if isinstance(action, Certificate)}


def test_a_new_endpoint_moves_the_generation_of_the_api_servers_certificate_alone() -> None:
    before = generations(render_plan(plan_inputs(Role.CONTROLLER)))
    after = generations(render_plan(plan_inputs(Role.CONTROLLER, endpoint=Endpoint("10.0.0.6", 6443))))
    assert {name for name in before if before[name] != after[name]} == {"apiserver"}


def test_another_authority_moves_the_generations_of_all_its_certificates() -> None:
    before = generations(render_plan(plan_inputs(Role.WORKER)))
    after = generations(render_plan(plan_inputs(Role.WORKER, keys=make_cluster_keys(CLUSTER_ID, STARTED_AT))))
    assert all(before[name] != after[name] for name in before)


ETCD_UNKNOWN = ("10.0.0.11", None, "10.0.0.13")


def without_address(inputs: PlanInputs) -> PlanInputs:
    return replace(inputs, node=replace(inputs.node, address=None))


def without_server(inputs: PlanInputs) -> PlanInputs:
    return replace(inputs, node=replace(inputs.node, server_id=None))


def seen(role: Role, *kubelets: str) -> PlanInputs:
    return replace(plan_inputs(role), kubelets=kubelets)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        pytest.param(plan_inputs(Role.ETCD), None, id="etcd with all addresses"),
        pytest.param(plan_inputs(Role.ETCD, has_endpoint=False), None, id="etcd does not need the endpoint"),
        pytest.param(without_server(plan_inputs(Role.ETCD)), None, id="etcd does not need its server's id"),
        pytest.param(without_address(plan_inputs(Role.ETCD)), "WaitingForAddress", id="etcd without its own address"),
        pytest.param(
            plan_inputs(Role.ETCD, etcd_addresses=ETCD_UNKNOWN), "WaitingForEtcdAddresses", id="etcd without a peer's"
        ),
        pytest.param(replace(plan_inputs(Role.ETCD), etcd=()), "WaitingForEtcdNodes", id="etcd without a membership"),
        pytest.param(
            plan_inputs(Role.CONTROLLER, etcd_addresses=ETCD_UNKNOWN),
            "WaitingForEtcdAddresses",
            id="controller without an etcd address",
        ),
        pytest.param(
            plan_inputs(Role.CONTROLLER, has_endpoint=False), "WaitingForEndpoint", id="controller without the endpoint"
        ),
        pytest.param(
            without_server(plan_inputs(Role.CONTROLLER)), "WaitingForServer", id="controller without its server's id"
        ),
        pytest.param(plan_inputs(Role.WORKER, etcd_addresses=ETCD_UNKNOWN), None, id="worker does not need etcd"),
        pytest.param(
            plan_inputs(Role.WORKER, has_endpoint=False), "WaitingForEndpoint", id="worker without the endpoint"
        ),
        pytest.param(
            seen(Role.CONTROLLER, "v1.33.1", "v1.36.3"), None, id="controller beside kubelets that it may have"
        ),
        pytest.param(seen(Role.CONTROLLER, "v1.32.9"), "ReleaseSkew", id="controller beside a kubelet that is too old"),
        pytest.param(seen(Role.CONTROLLER, "v1.37.0"), "ReleaseSkew", id="controller beside a newer kubelet"),
        pytest.param(seen(Role.WORKER, "v1.32.9"), None, id="worker whose kubelet is too old gets a newer one"),
    ],
)
def test_a_plan_waits_for_what_it_names(inputs: PlanInputs, code: str | None) -> None:
    decided = decide_plan(inputs)
    assert (decided.code if isinstance(decided, Reason) else None) == code


def test_all_members_are_named_to_each_member_alike() -> None:
    plans = [whole(render_plan(plan_inputs(Role.ETCD, number=number))) for number in (1, 2, 3)]
    found = {match for plan in plans for match in re.findall(r"--initial-cluster=\S+", plan)}
    assert len(found) == 1
    assert all(f"10.0.0.1{number}:2380" in next(iter(found)) for number in (1, 2, 3))


def test_the_kubelet_gets_what_the_region_says_of_its_machines() -> None:
    machine = Machine(cgroup_driver="cgroupfs", fail_cgroup_v1=False, fail_swap_on=False)
    plan = render_plan(plan_inputs(Role.WORKER, machine=machine))
    config = yaml.safe_load(content_of(plan, "/etc/slipway/kubelet.yaml"))
    assert (config["cgroupDriver"], config["failCgroupV1"], config["failSwapOn"]) == ("cgroupfs", False, False)
    assert "SystemdCgroup = false" in content_of(plan, "/etc/containerd/config.toml")


def test_the_pools_taints_are_registered() -> None:
    pool = a_pool(Role.WORKER, taints=(Taint(key="gpu", value="yes", effect="NoExecute"),))
    registration = content_of(render_plan(plan_inputs(Role.WORKER, pool=pool)), "/etc/slipway/kubelet-registration.env")
    assert "NODE_TAINTS=gpu=yes:NoExecute" in registration.splitlines()


def test_other_labels_and_taints_restart_no_kubelet() -> None:
    before = render_plan(plan_inputs(Role.WORKER))
    changes = {"labels": {"tier": "a"}, "taints": (Taint(key="gpu", effect="NoSchedule"),)}
    after = render_plan(plan_inputs(Role.WORKER, pool=a_pool(Role.WORKER, **changes)))
    changed = [new for (_, old), (_, new) in zip(actions(before), actions(after), strict=True) if old != new]
    assert [action.path for action in changed if isinstance(action, File)] == ["/etc/slipway/kubelet-registration.env"]
    assert len(changed) == 1
    restarting = [path for _, action in actions(after) if isinstance(action, Unit) for path in action.restart_on]
    assert "/etc/slipway/kubelet-registration.env" not in restarting


def machines(**changes: Any) -> PlanInputs:
    inputs = plan_inputs(Role.WORKER)
    made_of = NodeSpec.model_validate(inputs.made_of.model_dump() | changes)
    return replace(inputs, made_of=made_of)


def test_a_node_spec_says_how_kubelet_and_logs_are_set_up() -> None:
    kubelet = {
        "max_pods": 60,
        "pod_pids_limit": 4096,
        "system_reserved": {"cpu": "100m", "ephemeral_storage": "1Gi"},
        "kube_reserved": {"memory": "300Mi"},
        "eviction_hard": {"memory_available": "5%"},
    }
    runtime = {"log_max_size": 20, "log_max_files": 3, "cgroup_driver": "cgroupfs"}
    plan = render_plan(machines(kubelet=kubelet, runtime=runtime))
    config = yaml.safe_load(content_of(plan, "/etc/slipway/kubelet.yaml"))
    assert (config["maxPods"], config["podPidsLimit"], config["cgroupDriver"]) == (60, 4096, "cgroupfs")
    assert config["systemReserved"] == {"cpu": "100m", "ephemeral-storage": "1Gi"}
    assert config["kubeReserved"] == {"memory": "300Mi"}
    assert config["evictionHard"] == {
        "memory.available": "5%",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
    }, "a kubelet that is given one threshold would have no other"
    assert (config["containerLogMaxSize"], config["containerLogMaxFiles"]) == ("20Mi", 3)
    assert "SystemdCgroup = false" in content_of(plan, "/etc/containerd/config.toml")


@pytest.mark.parametrize("role", [Role.CONTROLLER, Role.WORKER])
@pytest.mark.parametrize("any_runtime", [False, True])
def test_the_images_runtime_is_checked_before_anything_is_set_up_for_it(role: Role, *, any_runtime: bool) -> None:
    (first, second, *rest) = render_plan(plan_inputs(role, machine=Machine(any_runtime=any_runtime))).steps[0].actions
    for action, program in ((first, "containerd"), (second, "runc")):
        assert isinstance(action, ProgramVersion)
        assert (action.program, action.code, action.lenient) == (program, "RuntimeOutOfRange", any_runtime)
        assert action.at_least == a_release().supports[program].at_least
    assert not any(isinstance(action, ProgramVersion) for action in rest)


@pytest.mark.parametrize("role", [Role.CONTROLLER, Role.WORKER])
def test_what_an_image_may_lack_comes_first_and_nothing_else_of_the_plan_changes(role: Role) -> None:
    before = render_plan(plan_inputs(role))
    after = render_plan(plan_inputs(role, release=a_release(packages=True)))
    machine = after.steps[0].actions
    packages = [action for action in machine if isinstance(action, Package)]
    assert tuple(package.name for package in packages) == OPTIONAL_PACKAGES
    assert isinstance(machine[3], UnitFile)
    assert (machine[4:], after.steps[1:]) == (before.steps[0].actions, before.steps[1:])
    for package in packages:
        assert package.url == f"http://mirror.example/v1.36.3/{package.name}"
        # What is unpacked is found where it is looked for: else it would be fetched for ever.
        assert any(place.startswith(package.folder) for place in package.places)


def test_etcds_machines_take_no_packages() -> None:
    assert render_plan(plan_inputs(Role.ETCD, release=a_release(packages=True))) == render_plan(plan_inputs(Role.ETCD))


@pytest.mark.parametrize("package", OPTIONAL_PACKAGES)
def test_a_mirror_may_have_some_of_the_packages(package: str) -> None:
    release = a_release(packages=True)
    others = set(OPTIONAL_PACKAGES) - {package}
    some = {name: program for name, program in release.artifacts.items() if name not in others}
    plan = render_plan(plan_inputs(Role.WORKER, release=release.model_copy(update={"artifacts": some})))
    assert [action.name for _, action in actions(plan) if isinstance(action, Package)] == [package]
    assert any(isinstance(action, UnitFile) for _, action in actions(plan)) is (package == "containerd")


@pytest.mark.parametrize(
    ("version", "takes"), [(None, True), ("0.1.0", False), ("0.2.0", True), ("0.10.0", True), ("1", True), ("x", False)]
)
def test_an_agent_gets_only_what_it_knows(version: str | None, *, takes: bool) -> None:
    assert takes_packages(version) is takes
    inputs = plan_inputs(Role.WORKER, release=a_release(packages=True))
    plan = render_plan(replace(inputs, takes_packages=takes_packages(version)))
    assert (plan == render_plan(plan_inputs(Role.WORKER))) is not takes


def test_a_node_spec_says_where_images_come_from() -> None:
    runtime = {
        "registry_mirrors": {"docker.io": "https://mirror.example:5000/hub", "registry.k8s.io": "http://near.example"},
        "insecure_registries": ["mirror.example:5000", "lab.example"],
    }
    plan = render_plan(machines(runtime=runtime))
    folder = "/etc/containerd/certs.d"
    hub = content_of(plan, f"{folder}/docker.io/hosts.toml")
    assert hub.splitlines()[2:] == [
        '[host."https://mirror.example:5000/hub"]',
        '  capabilities = ["pull", "resolve"]',
        "  skip_verify = true",
    ]
    assert "http://near.example" in content_of(plan, f"{folder}/registry.k8s.io/hosts.toml"), "before the region's own"
    lab = content_of(plan, f"{folder}/lab.example/hosts.toml")
    assert [line for line in lab.splitlines() if line.startswith("[")] == [
        '[host."https://lab.example"]',
        '[host."http://lab.example"]',
    ]
    assert lab.count("skip_verify") == 1


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("team", True),
        ("example.com/team", True),
        ("topology.kubernetes.io/zone", True),
        ("node.kubernetes.io/exclude-from-external-load-balancers", True),
        ("node-role.kubernetes.io/worker", False),
        ("node-restriction.kubernetes.io/tenant", False),
        ("kubernetes.io/anything", False),
        ("storage.k8s.io/class", False),
    ],
)
def test_a_kubelet_registers_only_labels_that_it_may(label: str, *, allowed: bool) -> None:
    assert may_register(label) is allowed
    inputs = plan_inputs(Role.WORKER, pool=a_pool(Role.WORKER, labels={label: "x"}))
    assert (registered_labels(inputs).get(label) == "x") is (allowed and not label.startswith("topology"))


def test_secrets_are_not_encrypted_where_the_cluster_says_so() -> None:
    plan = render_plan(plan_inputs(Role.CONTROLLER, spec=a_spec(encrypt_secrets=False)))
    assert "encryption.json" not in whole(plan)
    assert "encryption-provider-config" not in whole(plan)


def test_another_release_has_other_paths_so_units_change_with_it() -> None:
    newer = plan_inputs(Role.WORKER, release=a_release("v1.37.2"), spec=a_spec(release="v1.37.2"))
    assert "/opt/slipway/v1.37.2/kubelet" in whole(render_plan(newer))
    assert "v1.36.3" not in whole(render_plan(newer))


def test_an_endpoint_with_a_name_and_ipv6_addresses_are_written_as_urls_want_them() -> None:
    named = render_plan(plan_inputs(Role.CONTROLLER, endpoint=Endpoint("api.example.com", 443)))
    assert "api.example.com" in named.profiles["apiserver"].dns_names
    members = ("fd00::1", "fd00::2", "fd00::3")
    assert "https://[fd00::1]:2380" in whole(render_plan(plan_inputs(Role.ETCD, etcd_addresses=members)))
