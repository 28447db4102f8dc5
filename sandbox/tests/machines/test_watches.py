"""Watches: every change once, in order, as the selector sees it."""

from typing import Any

from slipway_sandbox.machines.kubernetes.rbac import MASTER

MAPS = "/api/v1/namespaces/default/configmaps"


def events(watch: Any) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in watch.poll()]


def a_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def test_a_watch_begins_with_what_is_there_and_goes_on_with_what_happens(api: Any) -> None:
    api.ok("POST", MAPS, a_map("a"))
    watch = api.model.watch(MAPS, {}, MASTER)
    assert events(watch) == [("ADDED", "a")]
    api.ok("PATCH", f"{MAPS}/a", {"data": {"x": "1"}})
    api.ok("POST", MAPS, a_map("b"))
    api.ok("DELETE", f"{MAPS}/a")
    assert events(watch) == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert events(watch) == []


def test_a_watch_from_a_lists_revision_misses_nothing_and_repeats_nothing(api: Any) -> None:
    api.ok("POST", MAPS, a_map("a"))
    revision = api.ok("GET", MAPS)["metadata"]["resourceVersion"]
    api.ok("POST", MAPS, a_map("b"))
    watch = api.model.watch(MAPS, {"resourceVersion": revision}, MASTER)
    assert events(watch) == [("ADDED", "b")]


def test_what_stops_to_match_is_deleted_for_the_watcher(api: Any) -> None:
    watch = api.model.watch(MAPS, {"labelSelector": "app=x"}, MASTER)
    api.ok("POST", MAPS, a_map("a", app="x"))
    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"app": "y"}}})
    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"app": "x"}}})
    assert events(watch) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_a_revision_that_is_forgotten_ends_the_watch_with_410(api: Any) -> None:
    watch = api.model.watch(MAPS, {"resourceVersion": "2"}, MASTER)
    api.model.storage.compact()
    api.ok("POST", MAPS, a_map("a"))
    last = watch.poll()[-1]
    assert (last["type"], last["object"]["code"], watch.ended) == ("ERROR", 410, True)


def test_bookmarks_carry_the_revision_that_was_reached(api: Any) -> None:
    watch = api.model.watch(MAPS, {"allowWatchBookmarks": "true"}, MASTER)
    api.ok("POST", MAPS, a_map("a"))
    watch.poll()
    mark = watch.bookmark()["object"]["metadata"]["resourceVersion"]
    again = api.model.watch(MAPS, {"resourceVersion": mark}, MASTER)
    api.ok("POST", MAPS, a_map("b"))
    assert events(again) == [("ADDED", "b")]


def test_other_namespaces_are_not_seen(api: Any) -> None:
    watch = api.model.watch(MAPS, {}, MASTER)
    api.ok("POST", "/api/v1/namespaces/kube-system/configmaps", a_map("a"))
    assert events(watch) == []
