"""How the command fails: one sentence on standard error, and an exit code that scripts can rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """The documented exit codes."""

    OK = 0
    FOUND = 1
    """`doctor` found something; a dead letter is not there or could not be replayed."""
    CANNOT = 2
    """The command line or the configuration is wrong, or something that must be looked at does not answer."""


class CommandFailed(Exception):
    """Ends the command with a sentence and an exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
