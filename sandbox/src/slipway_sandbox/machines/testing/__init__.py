"""For tests: a Kubernetes API (`serve_kubernetes`), Slipway's agent endpoints (`serve_slipway`), a cloud's servers."""

from slipway_sandbox.machines.testing.kubernetes import KubernetesEndpoint, serve_kubernetes

__all__ = ["KubernetesEndpoint", "serve_kubernetes"]
