"""How the command fails: one sentence on standard error, and an exit code that scripts can rely on."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The documented exit codes."""

    OK = 0
    FAILED = 1
    """The operation failed, or something unexpected happened."""
    USAGE = 2
    """The command line is wrong."""
    AUTH = 3
    """No cloud is configured, or Keystone refuses it."""
    NOT_FOUND = 4
    REFUSED = 5
    """The request is not acceptable: the message names the field and the remedy."""
    UNREACHABLE = 6
    """The API or Keystone does not answer."""
    DETACHED = 130
    """Ctrl-C: the operation goes on without us."""


class CommandFailed(Exception):
    """Ends the command with a sentence and an exit code."""

    def __init__(self, code: Exit, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


_BY_STATUS = {401: Exit.AUTH, 404: Exit.NOT_FOUND, 500: Exit.FAILED, 502: Exit.UNREACHABLE, 503: Exit.UNREACHABLE}


def failure_of(status: int, problem: Mapping[str, Any] | None, url: str) -> CommandFailed:
    """The failure that an answer of the API means; `problem` is its RFC 9457 document, if it is one."""
    if problem is None or "detail" not in problem:
        return CommandFailed(
            Exit.UNREACHABLE, f"{url} answered {status}, and not as Slipway does; check the endpoint (--endpoint)."
        )
    code = _BY_STATUS.get(status, Exit.REFUSED if 400 <= status < 500 else Exit.FAILED)
    errors = problem.get("errors") or ()
    details = tuple(f"{each['field']}: {each['message']}. {each['remedy']}" for each in errors)
    if details:
        return CommandFailed(code, f"{problem['title']}.", details)
    instance = f" ({problem['instance']})" if status == 500 and "instance" in problem else ""
    return CommandFailed(code, f"{problem['detail']}{instance}")
