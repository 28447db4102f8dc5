"""Unit files and command lines as systemd and Go's flag packages read them."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

ReadFile = Callable[[str], str | None]

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class UnitFile:
    """What the emulation needs of a unit."""

    exec_start: tuple[str, ...]
    exec_start_pre: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    type: str = "simple"
    restart: str = "no"
    restart_seconds: float = 0.1


def parse_unit(texts: Sequence[str], read_file: ReadFile) -> UnitFile:
    """A unit from its file and drop-ins, in order. Raises ValueError when it would not load."""
    settings: dict[str, list[str]] = {}
    for text in texts:
        for key, value in _service_lines(text):
            if value:
                settings.setdefault(key, []).append(value)
            else:
                settings[key] = []
    commands = settings.get("ExecStart", [])
    if len(commands) != 1:
        raise ValueError(f"Service has {'no' if not commands else 'more than one'} ExecStart= setting. Refusing.")
    environment = _environment(settings, read_file)
    return UnitFile(
        exec_start=_words(commands[0], environment),
        exec_start_pre=tuple(_words(command, environment) for command in settings.get("ExecStartPre", [])),
        environment=environment,
        type=settings.get("Type", ["simple"])[-1],
        restart=settings.get("Restart", ["no"])[-1],
        restart_seconds=_seconds(settings.get("RestartSec", ["100ms"])[-1]),
    )


def parse_flags(arguments: Sequence[str]) -> dict[str, str]:
    """`--name=value`, `--name value` and `--name` (true), by name without dashes; the last one wins."""
    flags: dict[str, str] = {}
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            following = arguments[position] if position < len(arguments) else "-"
            value = "true"
            if not following.startswith("-"):
                value = following
                position += 1
        flags[name] = value
    return flags


def _service_lines(text: str) -> list[tuple[str, str]]:
    section, lines = "", []
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif section == "Service" and stripped and stripped[0] not in "#;":
            key, _, value = stripped.partition("=")
            lines.append((key.strip(), value.strip()))
    return lines


def _environment(settings: Mapping[str, list[str]], read_file: ReadFile) -> dict[str, str]:
    environment: dict[str, str] = {}
    for value in settings.get("Environment", []):
        environment |= dict(word.partition("=")[::2] for word in shlex.split(value))
    for path in settings.get("EnvironmentFile", []):
        text = read_file(path.lstrip("-"))
        if text is None and not path.startswith("-"):
            raise ValueError(f"Failed to load environment files: {path}: No such file or directory")
        for line in (text or "").splitlines():
            if "=" in line and not line.lstrip().startswith(("#", ";")):
                key, _, raw = line.partition("=")
                environment[key.strip()] = " ".join(shlex.split(raw))
    return environment


def _words(command: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    words: list[str] = []
    for word in shlex.split(command.lstrip("-@:+!")):
        if re.fullmatch(r"\$\w+", word):
            words += shlex.split(environment.get(word[1:], ""))
        else:
            words.append(_VARIABLE.sub(lambda found: environment.get(found[1], ""), word))
    return tuple(words)


def _seconds(text: str) -> float:
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m)?", text)
    if not number:
        return 0.1
    return float(number[1]) * {"ms": 0.001, "m": 60.0, "min": 60.0}.get(number[2] or "s", 1.0)
