"""Which versions may run together in one cluster: Kubernetes' own rules, as one decision.

https://kubernetes.io/releases/version-skew-policy/: a kubelet is never newer than the API server and up to three minor
releases older; kubeadm writes a control plane of its own release. Which etcd an API server runs on, the table says.
"""

import re
from collections.abc import Iterable

from slipway_chassis.releases import Release

_MINOR = re.compile(r"^v(\d+)\.(\d+)\.\d+")


def decide_skew(
    api_server: str,
    release: Release,
    *,
    kubelets: Iterable[str] = (),
    kubeadm: str | None = None,
    etcd: str | None = None,
) -> tuple[str, ...]:
    """What is wrong with an API server of this name beside these others; empty when they may run together.

    `release` is what the table says of the API server's release. Names are as v1.36.3, with a vendor's suffix or
    without; etcd's version is as 3.6.16. Raises ValueError for what is no such name.
    """
    problems = [
        problem
        for kubelet in sorted(set(kubelets), key=_numbers)
        if (problem := _kubelet_problem(api_server, kubelet, release.kubelet_skew)) is not None
    ]
    if kubeadm is not None and kubeadm != api_server:
        problems.append(f"kubeadm {kubeadm} writes no control plane of {api_server}: both must be the same release")
    supported = release.supports.get("etcd")
    if etcd is not None and supported is not None and not supported.has(etcd):
        problems.append(f"etcd {etcd} is not supported by {api_server}: {supported.told} is")
    return tuple(problems)


def _kubelet_problem(api_server: str, kubelet: str, skew: int) -> str | None:
    newest, found = _numbers(api_server), _numbers(kubelet)
    if found > newest:
        return f"kubelet {kubelet} is newer than the API server {api_server}, which Kubernetes does not support"
    if found[0] != newest[0] or newest[1] - found[1] > skew:
        return f"kubelet {kubelet} is more than {skew} minor releases older than the API server {api_server}"
    return None


def _numbers(release: str) -> tuple[int, int]:
    match = _MINOR.match(release)
    if match is None:
        raise ValueError(f"{release!r} is no release such as v1.36.3")
    return int(match[1]), int(match[2])
