"""What operators and users write about machines: the contracts' own values, but an unknown field is refused."""

from typing import TypeVar

from pydantic import ConfigDict, Field

from slipway_contracts.api import Eviction, KubeletOptions, Reserved, RootVolume, RuntimeOptions
from slipway_contracts.values import Value

_STRICT = ConfigDict(extra="forbid")

T = TypeVar("T", bound=Value)


class RootVolumeInput(RootVolume):
    """See the contracts' RootVolume."""

    model_config = _STRICT


class RuntimeInput(RuntimeOptions):
    """See the contracts' RuntimeOptions."""

    model_config = _STRICT


class ReservedInput(Reserved):
    """See the contracts' Reserved."""

    model_config = _STRICT


class EvictionInput(Eviction):
    """See the contracts' Eviction."""

    model_config = _STRICT


class KubeletInput(KubeletOptions):
    """See the contracts' KubeletOptions."""

    model_config = _STRICT

    system_reserved: ReservedInput = Field(default=ReservedInput(), description="for the operating system")
    kube_reserved: ReservedInput = Field(default=ReservedInput(), description="for kubelet and container runtime")
    eviction_hard: EvictionInput = EvictionInput()


def as_contract(kind: type[T], written: Value) -> T:
    """The same content as the contracts' own class: values of different classes are never equal."""
    return kind.model_validate(written.model_dump())
