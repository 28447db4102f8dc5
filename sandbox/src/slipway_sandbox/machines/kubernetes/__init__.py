"""An emulated Kubernetes: a synchronous API server model on the caller's clock, its storage and its controllers."""

from slipway_sandbox.machines.kubernetes.controllers import Controllers
from slipway_sandbox.machines.kubernetes.model import KubernetesModel
from slipway_sandbox.machines.kubernetes.rbac import ANONYMOUS, User
from slipway_sandbox.machines.kubernetes.statuses import Refused
from slipway_sandbox.machines.kubernetes.storage import Storage

__all__ = ["ANONYMOUS", "Controllers", "KubernetesModel", "Refused", "Storage", "User"]
