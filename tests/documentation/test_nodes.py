"""docs/nodes.md says what plans really put on nodes, in which steps, and names every cause that a node can show."""

import re
from itertools import product
from pathlib import Path

import pytest

from slipway_contracts.agent import Action, Certificate, File, HttpProbe, Package, ProgramVersion, Remove
from slipway_contracts.values import Role
from slipway_node_agent import cloud_config, config
from slipway_provisioner import plan_progress
from slipway_provisioner.domain.plans import kubelet, machine
from slipway_provisioner.domain.plans.model import RenderedPlan
from slipway_provisioner.domain.plans.render import render_plan
from slipway_provisioner.domain.plans.testing import a_release, plan_inputs

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "nodes.md").read_text()
PROVISIONER = ROOT / "services" / "provisioner" / "src" / "slipway_provisioner"
AGENT = ROOT / "agents" / "node_agent" / "src" / "slipway_node_agent"
QUOTED = re.compile(r'"((?:[A-Z][a-z]+){2,})"')
RAISED = re.compile(
    r'(?:StepFailed|HostRefused|NotYet|patience\.wait|_waiting|_refuse_claim|reason|GiveUp)\(\s*(?:claim, )?"(\w+)"'
)
CHOSEN = re.compile(r'code = "(\w+)" if .* else "(\w+)"')
SOURCES = {
    "reasons.py": QUOTED, "failures.py": QUOTED, "render.py": RAISED, "evidence.py": RAISED,
    "agent_api.py": RAISED, "planning.py": RAISED, "openstack.py": RAISED, "reconciler_nodes.py": RAISED,
}  # fmt: skip
"""Where the provisioner's codes of nodes are written."""

PLANS = {role: render_plan(plan_inputs(role, release=a_release(packages=True))) for role in Role}


def told() -> set[str]:
    """What stands between backticks; braces stand for each of their parts."""
    found = set()
    for text in re.findall(r"`([^`\n]+)`", DOCUMENT):
        parts = [part.split(",") for part in re.split(r"\{([^}]*)\}", text)[1::2]]
        pattern = re.sub(r"\{[^}]*\}", "{}", text)
        found |= {pattern.format(*chosen) for chosen in product(*parts)} if parts else {text}
    return found


def paths_of(action: Action) -> set[str]:
    if isinstance(action, Certificate):
        return {path for path in (action.key_path, action.cert_path, action.kubeconfig_path) if path}
    return {path} if (path := getattr(action, "path", None)) else set()


def general(path: str) -> str:
    path = re.sub(r"/v\d+\.\d+\.\d+/", "/<release>/", re.sub(r"/etcd-\d+\.\d+\.\d+/", "/etcd-<version>/", path))
    return path.replace("registry.k8s.io", "<registry>")


def test_what_comes_from_the_mirror_is_named() -> None:
    packages = [each for each in actions(PLANS[Role.WORKER]) if isinstance(each, Package)]
    assert len(packages) == 3
    named = {path for path in told() if path.startswith("/")}
    for package in packages:
        assert any(path.startswith(package.folder) for path in named), package.folder
        assert package.name != "cni_plugins" or {*package.programs, *package.places} <= told()


def actions(plan: RenderedPlan) -> list[Action]:
    return [action for step in plan.steps for action in step.actions]


@pytest.mark.parametrize("role", Role)
def test_every_file_of_a_plan_is_named(role: Role) -> None:
    written = {general(path) for action in actions(PLANS[role]) for path in paths_of(action)}
    units = {f"/etc/systemd/system/{each.name}" for each in actions(PLANS[role]) if getattr(each, "content", None)
             and not isinstance(each, File | Remove)}  # fmt: skip
    assert len(written) > 5
    assert written | units <= told()


def test_the_agents_own_files_are_named() -> None:
    own = {value for name, value in vars(config).items() if name.endswith("_PATH")}
    own |= {cloud_config.PROGRAM_PATH, cloud_config.INSTALLER_PATH, machine.RESOLV_CONF, kubelet.ANEW}
    assert own <= told()


def test_the_steps_are_those_of_the_plans() -> None:
    rows = re.findall(r"^\| ([\w, ]+) \| `([\w-]+)` \| ([^|]+) \|", DOCUMENT, re.MULTILINE)
    for role in Role:
        written = [(name, title) for roles, name, title in rows if role.value in roles.split(", ")]
        assert written == [(step.name, step.title) for step in PLANS[role].steps]


def test_what_a_step_waits_for_is_in_its_row() -> None:
    for role in Role:
        for step in PLANS[role].steps:
            for probe in [each for each in step.actions if isinstance(each, HttpProbe)]:
                (row,) = re.findall(rf"^\| [\w, ]*{role}[\w, ]* \| `{step.name}` \|.*$", DOCUMENT, re.MULTILINE)
                assert f"`{probe.waiting_code}`" in row


def test_the_kernels_settings_are_named() -> None:
    settings = set(re.findall(r"[\w.-]+=\d+", machine._PREPARE))
    assert len(settings) == 5
    assert settings <= told()


def agents_codes() -> set[str]:
    """Every code that an agent itself gives for a failed step."""
    found = {action.code for plan in PLANS.values() for action in actions(plan) if isinstance(action, ProgramVersion)}
    for source in set(AGENT.glob("*.py")) - {AGENT / "testing.py"}:
        text = source.read_text()
        found |= set(RAISED.findall(text)) | {code for pair in CHOSEN.findall(text) for code in pair}
    return found


def rows_of_causes() -> list[list[str]]:
    """The cells of the tables of causes."""
    rows = [line for line in DOCUMENT.splitlines() if re.match(r"\| `[A-Z]\w+`", line) and line.count("|") == 5]
    return [row.split("|")[1:] for row in rows]


def codes() -> set[str]:
    """Every code that a node's plan, its agent or the provisioner can give for it."""
    found = agents_codes()
    for name, pattern in SOURCES.items():
        (source,) = [path for path in PROVISIONER.rglob(name) if "testing" not in path.parts]
        found |= set(pattern.findall(source.read_text()))
    for plan in PLANS.values():
        for action in actions(plan):
            found |= {action.waiting_code} if isinstance(action, HttpProbe) else set()
    return found


def test_every_cause_has_a_remedy() -> None:
    assert {"ArtifactDigestMismatch", "WaitingForEtcd", "TokenTaken", "QuotaExceeded", "NoRoute"} <= codes()
    explained = {code for cells in rows_of_causes() for code in re.findall(r"`([A-Z]\w+)`", cells[0])}
    assert codes() - explained == set()


def test_the_operators_moves_are_those_that_nodes_show() -> None:
    """An agent's code says nothing of whose move it is: the provisioner does."""
    told_so = {code for cells in rows_of_causes() if "O" in cells[1] for code in re.findall(r"`(\w+)`", cells[0])}
    assert told_so & agents_codes() == set(plan_progress._OPERATORS) & agents_codes()
    assert set(plan_progress._OPERATORS) <= told_so
