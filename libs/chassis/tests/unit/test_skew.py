"""Which versions may run together."""

import pytest

from slipway_chassis.releases import REQUIRED_PROGRAMS, Release, completed
from slipway_chassis.skew import decide_skew


def a_release(name: str = "v1.36.3") -> Release:
    programs = {program: {"file": f"{name}/{program}", "sha256": "0" * 64} for program in REQUIRED_PROGRAMS}
    return Release.model_validate(completed(name, {"artifacts": programs}))


@pytest.mark.parametrize(
    ("api_server", "kubelet", "says"),
    [
        pytest.param("v1.36.3", "v1.36.3", None, id="the same release"),
        pytest.param("v1.36.3", "v1.36.9", None, id="a newer patch of the same minor release"),
        pytest.param("v1.36.3", "v1.33.0", None, id="three minor releases older"),
        pytest.param("v1.36.3", "v1.32.9", "more than 3 minor releases older", id="four minor releases older"),
        pytest.param("v1.36.3", "v1.37.0", "newer than the API server", id="one minor release newer"),
        pytest.param("v1.10.0", "v1.9.0", None, id="as numbers, not as text"),
        pytest.param("v2.0.0", "v1.40.0", "older", id="another major release, older"),
        pytest.param("v1.40.0", "v2.0.0", "newer", id="another major release, newer"),
        pytest.param("v1.36.3", "v1.35.1+k3s1", None, id="a vendor's suffix"),
    ],
)
def test_a_kubelet_is_never_newer_and_at_most_three_minor_releases_older(
    api_server: str, kubelet: str, says: str | None
) -> None:
    problems = decide_skew(api_server, a_release(), kubelets=[kubelet])
    assert len(problems) == (0 if says is None else 1)
    assert says is None or says in problems[0]


def test_the_table_may_allow_less() -> None:
    strict = a_release().model_copy(update={"kubelet_skew": 1})
    assert decide_skew("v1.36.3", strict, kubelets=["v1.35.0"]) == ()
    assert "more than 1 minor" in decide_skew("v1.36.3", strict, kubelets=["v1.34.0"])[0]


@pytest.mark.parametrize(("kubeadm", "fits"), [("v1.36.3", True), ("v1.36.2", False), ("v1.35.3", False)])
def test_kubeadm_is_of_the_same_release(kubeadm: str, *, fits: bool) -> None:
    assert (decide_skew("v1.36.3", a_release(), kubeadm=kubeadm) == ()) is fits


@pytest.mark.parametrize(("etcd", "fits"), [("3.6.0", True), ("3.6.16", True), ("3.5.20", False), ("3.7.0", False)])
def test_etcd_is_in_the_releases_range(etcd: str, *, fits: bool) -> None:
    assert (decide_skew("v1.36.3", a_release(), etcd=etcd) == ()) is fits


def test_everything_that_is_wrong_is_said_once_and_in_order() -> None:
    kubelets = ["v1.30.0", "v1.40.0", "v1.30.0", "v1.36.0"]
    problems = decide_skew("v1.36.3", a_release(), kubelets=kubelets, kubeadm="v1.36.4", etcd="3.4.0")
    assert [problem.split()[:2] for problem in problems] == [
        ["kubelet", "v1.30.0"],
        ["kubelet", "v1.40.0"],
        ["kubeadm", "v1.36.4"],
        ["etcd", "3.4.0"],
    ]


@pytest.mark.parametrize("name", ["1.36.3", "v1.36", "latest", ""])
def test_what_is_no_release_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="no release"):
        decide_skew("v1.36.3", a_release(), kubelets=[name])
