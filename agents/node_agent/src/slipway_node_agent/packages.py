"""Programs that the image may lack: taken from the region's mirror where they are missing, and left alone elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_node_agent.actions import ensure_artifact, ensure_file
from slipway_node_agent.config import PACKAGES_FOLDER
from slipway_node_agent.effects import Doing, Unpack, unpack
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.host import UNIT_DIRECTORY, Host
from slipway_node_agent.run import Run

Action = Mapping[str, Any]


def ensure_package(run: Run, action: Action) -> Doing[None]:
    """Each of the programs is in one of the places; nothing is fetched for those that are."""
    archive = f"{PACKAGES_FOLDER}/{action['name']}.tar.gz"
    missing = _missing(run.host, action)
    if not missing:
        run.host.remove(archive)  # of an agent that was killed right after it had unpacked it
        return
    run.host.log("Installing what the image lacks", package=action["name"], missing=",".join(missing))
    if not action["archive"]:
        yield from ensure_artifact(run, {**action, "path": f"{action['folder']}/{action['programs'][0]}"})
        return
    yield from ensure_artifact(run, {**action, "path": archive, "mode": 0o600})
    # The programs come last: while one of them is missing, everything is done again.
    unpacked = yield from unpack(Unpack(archive, action["folder"], tuple(action["programs"])))
    if unpacked.trouble is not None:
        raise StepFailed(unpacked.code, f"cannot unpack {action['url']}: {unpacked.trouble}")
    run.host.remove(archive)
    missing = _missing(run.host, action)
    if missing:
        message = f"{action['url']} was unpacked and there is still no {', '.join(missing)}"
        raise StepFailed("ArtifactUnusable", message)


def ensure_unit_file(host: Host, name: str, content: str) -> None:
    """There is a unit of this name: the machine's own, or else this one."""
    if host.unit_states([name])[name] == "absent":
        host.log("Writing the unit that the image lacks", unit=name)
        ensure_file(host, UNIT_DIRECTORY + name, content, 0o644)


def _missing(host: Host, action: Action) -> list[str]:
    places = action["places"]
    return [name for name in action["programs"] if not any(host.exists(f"{place}/{name}") for place in places)]
