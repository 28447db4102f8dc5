"""Server-side apply: applied twice nothing changes, owners are known, conflicts are refused, dropped fields go."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway_sandbox.machines.kubernetes import ownership
from slipway_sandbox.machines.kubernetes.ownership import Manager

MAP = "/api/v1/namespaces/default/configmaps/a"
DAEMONS = "/apis/apps/v1/namespaces/kube-system/daemonsets/d"


def a_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def a_daemon_set(image: str, *env: tuple[str, str]) -> dict[str, Any]:
    container = {"name": "c", "image": image, "env": [{"name": name, "value": value} for name, value in env]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec}


def test_the_first_apply_creates_and_the_second_changes_nothing(api: Any) -> None:
    status, first = api.apply(DAEMONS, a_daemon_set("i:1", ("A", "1")))
    again, second = api.apply(DAEMONS, a_daemon_set("i:1", ("A", "1")))
    assert (status, again) == (201, 200)
    assert first == second


def test_a_field_of_another_manager_is_a_conflict(api: Any) -> None:
    api.apply(MAP, a_map(x="1"), "one")
    status, answer = api.apply(MAP, a_map(x="2"), "two")
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}
    ]
    assert api.ok("GET", MAP)["data"] == {"x": "1"}


def test_force_takes_the_field_over(api: Any) -> None:
    api.apply(MAP, a_map(x="1"), "one")
    assert api.apply(MAP, a_map(x="2"), "two", force="true")[0] == 200
    status, answer = api.apply(MAP, a_map(x="1"), "one")
    assert (status, answer["details"]["causes"][0]["message"]) == (409, 'conflict with "two"')


def test_the_same_value_is_owned_together(api: Any) -> None:
    api.apply(MAP, a_map(x="1"), "one")
    assert api.apply(MAP, a_map(x="1"), "two")[0] == 200
    api.apply(MAP, a_map(), "one")
    assert api.ok("GET", MAP)["data"] == {"x": "1"}


def test_a_field_no_longer_applied_is_removed(api: Any) -> None:
    api.apply(MAP, a_map(x="1", y="2"))
    api.apply(MAP, a_map(y="2"))
    assert api.ok("GET", MAP)["data"] == {"y": "2"}


def test_fields_of_people_stay(api: Any) -> None:
    api.apply(MAP, a_map(x="1"))
    api.ok("PATCH", MAP, {"metadata": {"annotations": {"note": "mine"}}})
    api.apply(MAP, a_map(x="2"))
    after = api.ok("GET", MAP)
    assert (after["metadata"]["annotations"], after["data"]) == ({"note": "mine"}, {"x": "2"})


def test_an_ordinary_write_takes_a_field_over(api: Any) -> None:
    api.apply(MAP, a_map(x="1"))
    api.ok("PATCH", MAP, {"data": {"x": "9"}})
    status, answer = api.apply(MAP, a_map(x="1"))
    assert status == 409
    assert 'conflict with "test using v1"' in answer["message"]


def test_lists_with_keys_merge_by_item(api: Any) -> None:
    api.apply(DAEMONS, a_daemon_set("i:1", ("A", "1"), ("B", "2")), "one")
    api.apply(DAEMONS, a_daemon_set("i:1", ("C", "3")), "two")
    api.apply(DAEMONS, a_daemon_set("i:1", ("A", "1")), "one")
    env = api.ok("GET", DAEMONS)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [entry["name"] for entry in env] == ["A", "C"]


def test_an_apply_needs_a_manager_and_a_kind(api: Any) -> None:
    kind = "application/apply-patch+yaml"
    assert api.send("PATCH", MAP, a_map(), kind=kind)[0] == 422
    assert api.apply(MAP, {"metadata": {"name": "a"}})[0] == 400


def test_status_of_an_applied_object_is_left_to_its_controllers(api: Any) -> None:
    api.apply(DAEMONS, {**a_daemon_set("i:1"), "status": {"numberReady": 9}})
    assert api.ok("GET", DAEMONS).get("status") is None


_NAMES = st.sampled_from(["a", "b", "c"])
_DATA = st.dictionaries(_NAMES, st.sampled_from(["1", "2"]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), _DATA), min_size=1, max_size=8))
def test_every_present_field_has_an_owner_and_nobody_owns_what_is_gone(steps: list[tuple[str, dict[str, str]]]) -> None:
    live: dict[str, Any] = {"metadata": {"managedFields": []}, "data": {}}
    for name, data in steps:
        live, managers = ownership.apply(live, {"metadata": {}, "data": data}, Manager(name, "Apply", "v1"))
        live["metadata"] = {"managedFields": ownership.write_managers(None, managers, "now")}
        assert data.items() <= live.get("data", {}).items()
        owned = {path for paths in ownership.read_managers(live).values() for path in paths}
        present = set(ownership.owned_fields(live))
        assert {path for path in owned if len(path) == 2} == {path for path in present if len(path) == 2}
