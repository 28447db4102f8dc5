"""What a cluster must look like: tables of cases."""

import pytest

from slipway_api.domain.offer import Allowance, Extra, Flavor, Nodes, Offer, decide_quota
from slipway_api.domain.people import persona_of
from slipway_api.domain.problems import CATALOGUE
from slipway_api.domain.requests import ClusterRequest, TaintRequest
from slipway_api.domain.rules import check_cidrs, check_count, check_labels, check_name, check_taints
from slipway_api.rest.translation import field_path
from slipway_contracts.api import Persona, RootVolume
from slipway_contracts.values import Role


@pytest.mark.parametrize("name", ["a", "shop", "shop-1", "a" * 63, "a--b"])
def test_dns_labels_are_names(name: str) -> None:
    assert check_name(name, "name") == []


@pytest.mark.parametrize("name", ["", "1shop", "Shop", "shop-", "-shop", "a" * 64, "shop.eu", "shöp", "shop\n", "a b"])
def test_everything_else_is_no_name(name: str) -> None:
    (problem,) = check_name(name, "name")
    assert problem.code == "invalid_name"


COUNTS = {
    Role.ETCD: {-1: "invalid_count", 0: "invalid_count", 1: None, 2: "even_etcd_count", 3: None, 4: "even_etcd_count",
                5: None, 6: "even_etcd_count", 7: None, 9: "invalid_count"},
    Role.CONTROLLER: {-1: "invalid_count", 0: "invalid_count", 1: None, 2: None, 3: None, 5: None,
                      6: "invalid_count"},
    Role.WORKER: {-1: "invalid_count", 0: None, 1: None, 1000: None, 1001: "invalid_count"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("role", "count", "code"), [(role, count, code) for role, cases in COUNTS.items() for count, code in cases.items()]
)
def test_each_role_has_its_numbers(role: Role, count: int, code: str | None) -> None:
    assert [problem.code for problem in check_count(role, count, "count")] == ([code] if code else [])


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("tier", "a", None),
        ("example.com/tier", "", None),
        ("a" * 63, "b" * 63, None),
        ("a" * 64, "b", "invalid_label"),
        ("tier", "b" * 64, "invalid_label"),
        ("tier", "-b", "invalid_label"),
        ("", "b", "invalid_label"),
        ("/tier", "b", "invalid_label"),
        ("Example.com/tier", "b", "invalid_label"),
        ("kubernetes.io/arch", "b", "restricted_label"),
        ("node-role.kubernetes.io/worker", "", "restricted_label"),
        ("x.k8s.io/y", "b", "restricted_label"),
        ("slipway/pool", "b", "restricted_label"),
        ("mykubernetes.io/y", "b", None),
    ],
)
def test_labels_and_taints_follow_kubernetes(key: str, value: str, code: str | None) -> None:
    expected = [code] if code else []
    assert [problem.code for problem in check_labels({key: value}, "labels")] == expected
    taint = TaintRequest(key=key, value=value, effect="NoSchedule")
    assert [problem.code for problem in check_taints([taint], "taints")] == expected


@pytest.mark.parametrize(
    ("pods", "services", "code"),
    [
        ("10.244.0.0/16", "10.96.0.0/16", None),
        ("10.96.0.0/16", "10.96.0.0/16", "overlapping_cidrs"),
        ("10.0.0.0/8", "10.96.0.0/16", "overlapping_cidrs"),
        ("10.77.0.0/16", "10.96.0.0/16", "overlapping_cidrs"),
        ("10.244.0.0/16", "172.16.3.0/24", "overlapping_cidrs"),
        ("10.244.0.0/21", "10.96.0.0/16", None),
        ("10.244.0.0/22", "10.96.0.0/16", "cidr_too_small"),
        ("10.244.0.0/28", "10.96.0.0/16", "cidr_too_small"),
        ("10.244.0.0/16", "11.0.0.0/8", "invalid_cidr"),
        ("10.244.0.0/16", "10.96.0.0/28", "invalid_cidr"),
        ("10.244.0.0", "10.96.0.0/16", "invalid_cidr"),
        ("fd00::/48", "10.96.0.0/16", "invalid_cidr"),
        ("10.244.0.1/16", "10.96.0.0/16", "invalid_cidr"),
    ],
)
def test_ranges_are_valid_apart_and_large_enough(pods: str, services: str, code: str | None) -> None:
    request = ClusterRequest(name="shop", pod_cidr=pods, service_cidr=services)
    found = check_cidrs(request, ("172.16.0.0/16", "fd00::/8"), ("10.77.0.0/24",), nodes=6)
    assert {problem.code for problem in found} == ({code} if code else set())


def an_offer(**free: int) -> Offer:
    return Offer({}, {}, {}, frozenset(), {name: Allowance(limit, 0) for name, limit in free.items()})


def an_extra(wanted: Nodes, index: int = 0, present: Nodes | None = None) -> Extra:
    return Extra(wanted, f"pools[{index}].count", f"pools[{index}].root_volume", present)


SMALL = Flavor("f", "small", vcpus=2, ram=1024)
LARGE = Flavor("l", "large", vcpus=4, ram=1024)


@pytest.mark.parametrize(
    ("free", "codes"),
    [
        pytest.param({}, [], id="what is unknown is not refused"),
        pytest.param({"instances": -1, "cores": -1, "ram": -1, "ports": -1}, [], id="no limit is no limit"),
        pytest.param({"instances": 8, "cores": 16, "ram": 8192, "ports": 9}, [], id="just enough"),
        pytest.param({"instances": 7}, ["instances_quota_exceeded"], id="one server too many"),
        pytest.param({"cores": 15}, ["cores_quota_exceeded"], id="one core too many"),
        pytest.param({"ram": 8191}, ["ram_quota_exceeded"], id="a little memory too much"),
        pytest.param({"ports": 8}, ["ports_quota_exceeded"], id="no port for the endpoint"),
        pytest.param({"server_groups": 1}, ["server_groups_quota_exceeded"], id="one server group too many"),
        pytest.param({"security_groups": 0}, ["security_groups_quota_exceeded"], id="no security group"),
        pytest.param({"server_group_members": 4}, ["server_group_members_quota_exceeded"], id="a group too small"),
    ],
)
def test_the_quota_has_room_for_all_nodes_or_the_resource_is_named(free: dict[str, int], codes: list[str]) -> None:
    etcd, workers = Nodes(Role.ETCD, 5, SMALL), Nodes(Role.WORKER, 3, SMALL)
    extras = [an_extra(etcd, 0), an_extra(workers, 1)]
    fixed = {"ports": 1, "security_groups": 3, "server_groups": 2}
    found = decide_quota(extras, fixed, an_offer(**free))
    assert [problem.code for problem in found] == codes
    assert all(problem.field == "pools[0].count" for problem in found), "the largest pool is where to save"


FAST, PLAIN = RootVolume(size=40, type="ssd"), RootVolume(size=20)


@pytest.mark.parametrize(
    ("free", "told"),
    [
        pytest.param({"volumes": 5, "gigabytes": 160, "volumes_ssd": 3, "gigabytes_ssd": 120}, [], id="just enough"),
        pytest.param({"volumes": 4}, ["volumes_quota_exceeded: 5 volumes"], id="one volume too many"),
        pytest.param({"gigabytes": 159}, ["gigabytes_quota_exceeded: 160 GiB of volumes"], id="one GiB too many"),
        pytest.param(
            {"volumes_ssd": 2}, ["volumes_quota_exceeded: 3 volumes of the type ssd"], id="one of a type too many"
        ),
        pytest.param(
            {"gigabytes_ssd": 119, "gigabytes_hdd": 0},
            ["gigabytes_quota_exceeded: 120 GiB of volumes of the type ssd"],
            id="one GiB of a type too many",
        ),
        pytest.param(
            {"per_volume_gigabytes": 39}, ["per_volume_gigabytes_quota_exceeded: 40 GiB in one volume"], id="too large"
        ),
    ],
)
def test_root_volumes_need_room_in_all_and_of_their_type(free: dict[str, int], told: list[str]) -> None:
    workers, gpus = Nodes(Role.WORKER, 3, SMALL, FAST), Nodes(Role.WORKER, 2, SMALL, PLAIN)
    found = decide_quota([an_extra(gpus, 1), an_extra(workers, 0)], {}, an_offer(**free))
    assert [f"{each.code}: {each.message.partition(' are needed')[0]}" for each in found] == told
    fields = {"per_volume_gigabytes_quota_exceeded": "pools[0].root_volume"}
    assert all(each.field == fields.get(each.code, "pools[0].count") for each in found), "who needs most may save"


@pytest.mark.parametrize(
    ("wanted", "free", "codes"),
    [
        pytest.param(Nodes(Role.WORKER, 5, SMALL, FAST), {"gigabytes": 80, "instances": 2}, [], id="two more"),
        pytest.param(
            Nodes(Role.WORKER, 5, SMALL, FAST), {"gigabytes": 79}, ["gigabytes_quota_exceeded"], id="no room for them"
        ),
        pytest.param(Nodes(Role.WORKER, 3, SMALL, FAST), {"volumes": 0, "cores": 0}, [], id="the same again"),
        pytest.param(Nodes(Role.WORKER, 3, LARGE, FAST), {"cores": 5}, ["cores_quota_exceeded"], id="larger machines"),
        pytest.param(Nodes(Role.WORKER, 3, SMALL), {"instances": 0, "volumes": 0}, [], id="no volumes any more"),
        pytest.param(
            Nodes(Role.WORKER, 3, SMALL, RootVolume(size=40)), {"volumes": 0, "volumes_ssd": 0}, [], id="another type"
        ),
        pytest.param(
            Nodes(Role.WORKER, 3, SMALL, RootVolume(size=50, type="ssd")),
            {"gigabytes": 30, "gigabytes_ssd": 29, "per_volume_gigabytes": 50},
            ["gigabytes_quota_exceeded"],
            id="larger volumes",
        ),
        pytest.param(Nodes(Role.WORKER, 1, LARGE, FAST), {"cores": 0}, [], id="fewer, and no more than there is"),
    ],
)
def test_what_a_pool_has_counts_against_what_it_is_to_have(
    wanted: Nodes, free: dict[str, int], codes: list[str]
) -> None:
    present = Nodes(Role.WORKER, 3, SMALL, FAST)
    found = decide_quota([an_extra(wanted, present=present)], {}, an_offer(**free))
    assert [problem.code for problem in found] == codes


def test_a_server_group_must_hold_all_controllers_not_only_the_new_ones() -> None:
    three, five = Nodes(Role.CONTROLLER, 3, SMALL), Nodes(Role.CONTROLLER, 5, SMALL)
    (found,) = decide_quota([an_extra(five, present=three)], {}, an_offer(server_group_members=4))
    assert found.code == "server_group_members_quota_exceeded"
    assert found.message == "5 members of one server group are needed, and 4 are allowed"


@pytest.mark.parametrize(
    ("roles", "persona"),
    [
        (["member", "reader"], Persona.MEMBER),
        (["Admin", "member"], Persona.ADMIN),
        (["reader", "load-balancer_member"], Persona.READER),
        (["load-balancer_member"], None),
        ([], None),
    ],
)
def test_the_highest_role_makes_the_persona(roles: list[str], persona: Persona | None) -> None:
    assert persona_of(roles) is persona


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("body", "pools", 0, "count"), "pools[0].count"),
        (("query", "limit"), "limit"),
        (("body",), "body"),
        (("body", "labels", "a"), "labels.a"),
    ],
)
def test_fields_are_named_as_users_write_them(location: tuple[str | int, ...], path: str) -> None:
    assert field_path(location) == path


def test_every_problem_has_a_status_and_a_title() -> None:
    assert all(400 <= status < 600 and title[0].isupper() for status, title in CATALOGUE.values())
    assert len({title for _, title in CATALOGUE.values()}) == len(CATALOGUE)
