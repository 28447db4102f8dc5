"""Evidence without secrets: what a program printed, made fit for logs, reports and users' eyes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

TAIL_LIMIT = 4000
"""Characters of evidence in a report."""

_PEM = re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL)
_PEM_END = re.compile(r"\A(?:[A-Za-z0-9+/=\s]*)-----END [^-]+-----")
_NAMED = re.compile(r"(?i)\b((?:[\w-]*(?:token|password|passwd|secret)[\w-]*)[\"']?\s*[:=]\s*[\"']?)([^\s\"',}]{6,})")
_SECRET_NAME = re.compile(r"(?i)token|password|passwd|secret|key|credential")
_SHORTEST = 12  # shorter lines of a secret file are words like "kind: Config", and replacing them hides the evidence


class Scrubber:
    """Removes what it was told is secret, and whatever looks like a key or a password."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        self._known = sorted((line for line in lines if len(line) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The end of the text, at most TAIL_LIMIT characters, without secrets."""
        for secret in self._known:
            text = text.replace(secret, "[removed]")
        text = _PEM_END.sub("[removed]", _PEM.sub("[removed]", text))
        return _NAMED.sub(r"\1[removed]", text)[-TAIL_LIMIT:]


def decide_secrets(plan: Mapping[str, Any], token: str) -> list[str]:
    """What in a plan must never be shown: the token, files that others may not read, and telling variables."""
    secrets = [token]
    for step in plan.get("steps", ()):
        for action in step.get("actions", ()):
            if action.get("kind") == "file" and not int(action.get("mode", 0o644)) & 0o077:
                secrets.append(str(action.get("content", "")))
            if action.get("kind") == "command":
                secrets += [str(value) for name, value in action.get("env", {}).items() if _SECRET_NAME.search(name)]
    return secrets
