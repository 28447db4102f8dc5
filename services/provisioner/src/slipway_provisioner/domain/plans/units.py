"""Text of systemd units."""

import re

_PLAIN_DOLLAR = re.compile(r"\$(?!\{[A-Z_]+\})")


def service_unit(
    description: str,
    command: tuple[str, ...],
    *,
    notify: bool = False,
    after: tuple[str, ...] = (),
    environment: str | None = None,
) -> str:
    """A service that is always running: restarted after two seconds however it ends, and never given up.

    Arguments may name variables of the environment's file, as ${NAME}.
    """
    first, *arguments = command
    exec_start = " \\\n  ".join([first, *(_quoted(argument) for argument in arguments)])
    units = " ".join(("network-online.target", *after))
    kind = "notify" if notify else "exec"
    variables = f"EnvironmentFile={environment}\n" if environment else ""
    return f"""[Unit]
Description={description}
Wants={units}
After={units}
StartLimitIntervalSec=0

[Service]
Type={kind}
{variables}ExecStart={exec_start}
TimeoutStartSec=infinity
Restart=always
RestartSec=2
LimitNOFILE=1048576
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
"""


def _quoted(argument: str) -> str:
    """As systemd reads it: percent and dollar are doubled, but those of variables; blanks need quotes."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = _PLAIN_DOLLAR.sub("$$", escaped)
    return f'"{escaped}"' if any(sign.isspace() for sign in argument) else escaped
