"""Unit files and flags as systemd and Go read them."""

import pytest

from slipway_sandbox.machines.command_lines import parse_flags, parse_unit


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--a=1", "--b", "2", "--c"], {"a": "1", "b": "2", "c": "true"}),
        (["-a=1"], {"a": "1"}),
        (["--a=1", "--a=2"], {"a": "2"}),
        (["--a", "--b=x=y"], {"a": "true", "b": "x=y"}),
        (["plain", "--a=1"], {"a": "1"}),
    ],
)
def test_flags(words: list[str], expected: dict[str, str]) -> None:
    assert parse_flags(words) == expected


UNIT = """
[Unit]
Description=x
[Service]
# a comment
Type=notify
Environment="A=1 2" B=3
EnvironmentFile=-/etc/default/x
ExecStartPre=/bin/mkdir -p /run/x
ExecStart=/usr/bin/x \\
  --one=$A --two=${B} $EXTRA
Restart=on-failure
RestartSec=500ms
[Install]
WantedBy=multi-user.target
"""


def test_a_unit_is_read_with_its_environment() -> None:
    unit = parse_unit([UNIT], {"/etc/default/x": "EXTRA='--three --four'"}.get)
    assert unit.exec_start == ("/usr/bin/x", "--one=$A", "--two=3", "--three", "--four")
    assert unit.exec_start_pre == (("/bin/mkdir", "-p", "/run/x"),)
    assert (unit.type, unit.restart, unit.restart_seconds) == ("notify", "on-failure", 0.5)


def test_a_drop_in_replaces_the_command() -> None:
    unit = parse_unit([UNIT, "[Service]\nExecStart=\nExecStart=/bin/y\n"], lambda _: None)
    assert unit.exec_start == ("/bin/y",)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[Service]\nType=simple\n", id="no command"),
        pytest.param("[Service]\nExecStart=/a\nExecStart=/b\n", id="two commands"),
        pytest.param("[Service]\nEnvironmentFile=/no\nExecStart=/a\n", id="no environment file"),
    ],
)
def test_units_that_systemd_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_unit([text], lambda _: None)
