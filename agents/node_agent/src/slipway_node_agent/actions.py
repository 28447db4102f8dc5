"""One action of a plan step, for every kind but certificates. Each is harmless to repeat: it changes what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slipway_node_agent.effects import CallFailed, Doing, Execute, Fetch, Probe, Wait, execute, fetch, probe
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.host import UNIT_DIRECTORY, Host
from slipway_node_agent.memory import Memory, digest_of
from slipway_node_agent.run import Patience, Run

Action = Mapping[str, Any]

UNIT_LOOKS = 10
UNIT_LOOK_EVERY = 0.5
"""How long a unit may take to leave `inactive`; one that is still `activating` then is judged by the plan's probes."""

PROBE_TIMEOUT = 5.0


def ensure_artifact(run: Run, action: Action) -> Doing[None]:
    """The program is there with the right digest and mode; what is there is not fetched."""
    path, mode = action["path"], int(action.get("mode", 0o755))
    if run.host.digest(path) != action["sha256"]:
        run.host.log("Fetching", url=action["url"], path=path)
        answer = yield from fetch(Fetch(action["url"], path, action["sha256"], mode))
        if isinstance(answer, CallFailed):
            raise StepFailed("ArtifactUnreachable", f"cannot fetch {action['url']}: {answer.message}")
        if answer.sha256 != action["sha256"]:
            message = f"{action['url']} has SHA-256 {answer.sha256}, the plan wants {action['sha256']}: mend the mirror"
            raise StepFailed("ArtifactDigestMismatch", message)
    if run.host.mode(path) != mode:
        run.host.set_mode(path, mode)


def ensure_file(host: Host, path: str, content: str, mode: int) -> None:
    """The file has this content and mode; written only when it differs."""
    if host.digest(path) != _sha256(content) or host.mode(path) != mode:
        host.write_file(path, content, mode)


def ensure_unit(run: Run, action: Action) -> Doing[None]:
    """The unit runs with its present text and files; restarted when they changed since its start, or it is down."""
    name, content = action["name"], action.get("content")
    if content is not None:
        ensure_file(run.host, UNIT_DIRECTORY + name, content, 0o644)
    wanted = digest_of([content, *(run.host.digest(path) for path in action.get("restart_on", ()))])
    state = run.host.unit_states([name])[name]
    first_sight = content is None and not action.get("restart_on") and name not in run.memory.units
    changed = run.memory.units.get(name) != wanted and not (first_sight and state == "active")
    if changed or state not in ("active", "activating"):
        run.host.log("Restarting unit", unit=name, was=state, changed=changed)
        run.host.restart_unit(name)
        run.memory.units[name] = wanted
        run.remember()
        yield from _settle(run, name)


def _settle(run: Run, name: str) -> Doing[None]:
    """A restart is asynchronous, and a notifying unit such as etcd is `activating` until it has its quorum."""
    for _ in range(UNIT_LOOKS):
        state = run.host.unit_states([name])[name]
        if state == "active":
            return
        if state == "failed":
            break
        yield Wait(UNIT_LOOK_EVERY)
    state = run.host.unit_states([name])[name]
    if state not in ("active", "activating"):
        raise StepFailed("UnitNotActive", f"unit {name} is {state} after its start", run.host.unit_log(name))


def is_satisfied(host: Host, memory: Memory, action: Action, planned: Mapping[str, str]) -> bool:
    """Whether a command has nothing to do. `planned` are digests of files that the plan is about to write."""
    creates, redo_on = action.get("creates"), action.get("redo_on", ())
    if creates is None and not redo_on:
        return False
    if creates is not None and not host.exists(creates):
        return False
    seen = digest_of([planned.get(path) or host.digest(path) for path in redo_on])
    return not redo_on or memory.commands.get(_command_key(action)) == seen


def ensure_command(run: Run, action: Action) -> Doing[None]:
    """The command was run to a good end since its inputs changed."""
    if is_satisfied(run.host, run.memory, action, {}):
        return
    argv = tuple(action["argv"])
    program, timeout = argv[0], float(action.get("timeout", 120.0))
    # Before the run: what changes while it runs was not seen by it.
    inputs = digest_of([run.host.digest(path) for path in action.get("redo_on", ())])
    run.host.log("Running", program=program)
    ended = yield from execute(Execute(argv, dict(action.get("env", {})), timeout))
    if ended.exit_code is None:
        raise StepFailed("CommandTimedOut", f"{_title(argv)} did not end within {timeout:g} s", ended.output)
    if ended.exit_code != 0:
        raise StepFailed("CommandFailed", f"{_title(argv)} ended with exit code {ended.exit_code}", ended.output)
    creates = action.get("creates")
    if creates is not None and not run.host.exists(creates):
        raise StepFailed("CommandFailed", f"{_title(argv)} ended well but did not make {creates}", ended.output)
    run.memory.commands[_command_key(action)] = inputs
    run.remember()


def await_probe(run: Run, step: str, action: Action) -> Doing[None]:
    """Returns when the endpoint, or one of its alternatives, answers one of the statuses; a newer plan takes over."""
    timeout = float(action.get("timeout", 600.0))
    patience = Patience(run, step, timeout)
    while True:
        answers = []
        for url in (action["url"], *action.get("alternatives", ())):
            answer = yield from probe(as_probe({**action, "url": url}, min(PROBE_TIMEOUT, timeout)))
            if answer.status in tuple(action.get("statuses", (200,))):
                return
            answers.append(f"{url}: {answer.saw}")
        message = f"{action['waiting']} ({'; '.join(answers)})"
        yield from patience.wait(
            action["waiting_code"],
            message,
            for_others=bool(action.get("for_others", False)),
            failed="ProbeTimedOut",
            log_tail=lambda: _last_unit_log(run, step),
        )


def as_probe(action: Action, timeout: float) -> Probe:
    """The effect that looks at the endpoint of an http_probe."""
    return Probe(action["url"], action.get("ca_path"), action.get("cert_path"), action.get("key_path"), timeout)


def _last_unit_log(run: Run, step: str) -> str | None:
    """What the unit printed that was started last before this step's end: most often it is what the probe waits for."""
    name = None
    for candidate in run.plan["steps"]:
        for action in candidate["actions"]:
            if action["kind"] == "unit":
                name = action["name"]
        if candidate["name"] == step:
            break
    return run.host.unit_log(name) if name else None


def _command_key(action: Action) -> str:
    return hashlib.sha256(
        json.dumps([list(action["argv"]), action.get("env", {})], sort_keys=True).encode()
    ).hexdigest()


def _title(argv: tuple[str, ...]) -> str:
    """Program and subcommand; arguments may be long or secret."""
    words = [word for word in argv[1:3] if not word.startswith("-") and "/" not in word and "=" not in word]
    return " ".join([argv[0], *words])


def _sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
