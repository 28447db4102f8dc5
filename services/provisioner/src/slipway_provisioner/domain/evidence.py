"""What a server's console tells of an agent that never called: without secrets, and in one sentence. Pure."""

import re

from slipway_contracts.values import Mover, Reason
from slipway_node_agent.scrub import Scrubber
from slipway_provisioner.domain.reasons import reason

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours and cursor movements: a console log is what a terminal was sent."""

_BLOB = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
"""Base64 of user data, as cloud-init prints it when it cannot read it."""

_CANNOT = re.compile(
    r"slipway: cannot (?P<doing>reach|install) (?P<url>\S+): (?P<why>.*?)(?:; again in .*)?$", re.MULTILINE
)
_CLAIM = re.compile(r'Claim failed url=\S+ cause=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S+))')
_NO_BOOT = re.compile(
    r"^.*(?:Kernel panic|No bootable device|Boot failed|emergency mode|Cannot open root device|dracut.*timeout).*$",
    re.IGNORECASE | re.MULTILINE,
)
_CLOUD_INIT = re.compile(r"cloud-init", re.IGNORECASE)


def scrub_console(text: str, token: str) -> str:
    """The end of a console log as people may read it: no token, no key, no control characters."""
    return Scrubber([token])(_BLOB.sub("[removed]", _CONTROL.sub("", text.replace("\r\n", "\n"))))


def decide_silence(console: str | None, network_id: str, url: str) -> Reason:
    """Why an agent never called, as far as its server's console (already scrubbed) tells."""
    text = (console or "").strip()
    if not text:
        return _silence("its console is empty: the image may not boot here, or writes to no serial console", Mover.USER)
    if (cannot := _last(_CANNOT, text)) is not None:
        return _cannot(cannot, network_id)
    if (claim := _last(_CLAIM, text)) is not None:
        why = claim["bare"] or claim["quoted"].replace('\\"', '"')
        return _silence(f"its claim failed: {why}", Mover.OPERATOR)
    if (broken := _last(_NO_BOOT, text)) is not None:
        return _silence(f"the image does not boot: {broken.group().strip()[:200]}", Mover.USER)
    if "slipway: agent installed" in text:
        return _silence("its agent was installed and says nothing; the end of its console is with the evidence")
    if _CLOUD_INIT.search(text) is None:
        return _silence("its console shows no cloud-init: the image needs cloud-init, systemd and Python 3", Mover.USER)
    network = f"there may be no route from the network {network_id} to {url}"
    return _silence(
        f"cloud-init ran and its console shows no agent: {network}, or the image lacks Python 3", Mover.USER
    )


def _cannot(found: re.Match[str], network_id: str) -> Reason:
    url, why = found["url"], found["why"][:300]
    if found["doing"] == "install":
        return _silence(f"the agent's program from {url} could not be installed: {why}", Mover.OPERATOR)
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return _silence(f"it does not trust the certificate of {url}, or its clock is wrong: {why}", Mover.OPERATOR)
    return reason(
        "NoRoute", f"Its agent never called: no route from the network {network_id} to {url}: {why}", Mover.USER
    )


def _silence(why: str, whose_move: Mover = Mover.OPERATOR) -> Reason:
    return reason("AgentNeverCalled", f"Its agent never called: {why}", whose_move)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007  the last one counts
        pass
    return found
