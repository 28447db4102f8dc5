"""What the documents say exists: links, make targets, commands with their options, configuration that loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slipway_chassis.regions import Regions

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "[a-z]*/README.md", "[a-z]*/*/README.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
COMMAND = re.compile(r"^\s*(?:\$ )?(slipway (?:cluster|pool|node|operation|event|region|alert) .*)$", re.MULTILINE)
ADMIN = re.compile(r"^\s*\$ (slipway-admin .*)$", re.MULTILINE)
TARGET = re.compile(r"`make ([a-z0-9-]+)")
YAML_BLOCK = re.compile(r"```yaml\n(regions:.*?)```", re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+[a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(TARGET.findall(document.read_text())) <= targets


def commands() -> list[str]:
    found = {line.strip() for document in DOCUMENTS for line in COMMAND.findall(document.read_text())}
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_every_command_and_its_options_exist(command: str) -> None:
    command = re.split(r"#|&&|\|", command)[0]
    words = command.split()[1:3]
    shown = subprocess.run([sys.executable, "-m", "slipway_cli", *words, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for option in re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", command):
        assert option in shown.stdout, f"{command}: no such option {option}"


def admin_commands() -> list[str]:
    return sorted({line.strip() for document in DOCUMENTS for line in ADMIN.findall(document.read_text())})


@pytest.mark.parametrize("command", admin_commands())
def test_every_command_of_the_operator_and_its_options_exist(command: str) -> None:
    words = re.split(r"#|&&|\|", command)[0].split()[1:]
    path = [word for word in words if not word.startswith("-")][: 1 if words[0] == "doctor" else 2]
    shown = subprocess.run([sys.executable, "-m", "slipway_admin", *path, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("-") and word not in shown.stdout] == []


def test_the_regions_shown_are_regions() -> None:
    blocks = [block for document in DOCUMENTS for block in YAML_BLOCK.findall(document.read_text())]
    for block in blocks:
        assert Regions.model_validate(yaml.safe_load(block)).regions
