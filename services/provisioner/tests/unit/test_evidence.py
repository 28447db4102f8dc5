"""What a console tells of an agent that never called, and what it must not tell."""

import pytest

from slipway_contracts.values import Mover
from slipway_provisioner.domain.evidence import decide_silence, scrub_console

URL = "https://agents.example:8443"
BOOTED = "[   10.1] cloud-init[512]: Cloud-init v. 22.4.2 running 'modules:final'\n"
CANNOT = "[   12.0] env[600]: slipway: cannot {} https://agents.example:8443/v1/agent/program: {}; again in 30 s\n"
REACH = CANNOT.format("reach", "<urlopen error [Errno 113] No route to host>")

CONSOLES = {
    "none at all": (None, "AgentNeverCalled", Mover.USER, "its console is empty"),
    "blank lines": (" \n\n", "AgentNeverCalled", Mover.USER, "its console is empty"),
    "no route": (BOOTED + REACH, "NoRoute", Mover.USER, "no route from the network net-1 to https://agents.example:8443"),
    "a certificate that is not trusted": (
        BOOTED + CANNOT.format("reach", "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] self-signed>"),
        "AgentNeverCalled", Mover.OPERATOR, "does not trust the certificate",
    ),
    "another program": (
        BOOTED + REACH + CANNOT.format("install", "its SHA-256 is abc, expected def"),
        "AgentNeverCalled", Mover.OPERATOR, "could not be installed: its SHA-256 is abc, expected def",
    ),
    "a refused claim": (
        BOOTED + 'Claim failed url=https://agents.example:8443 cause="403 TokenExpired: too late" again_in=3\n',
        "AgentNeverCalled", Mover.OPERATOR, "its claim failed: 403 TokenExpired: too late",
    ),
    "a refused claim with a quotation in it": (
        BOOTED + 'Claim failed url=https://agents.example:8443 cause="answered 500: \\"broken\\" it says" again_in=3\n',
        "AgentNeverCalled", Mover.OPERATOR, 'its claim failed: answered 500: "broken" it says',
    ),
    "a kernel that panics": (
        "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
        "AgentNeverCalled", Mover.USER, "does not boot: [    1.2] Kernel panic - not syncing",
    ),
    "an agent that is silent": (
        BOOTED + "slipway: agent installed from https://agents.example:8443/v1/agent/program\n",
        "AgentNeverCalled", Mover.OPERATOR, "was installed and says nothing",
    ),
    "an image without cloud-init": (
        "Debian GNU/Linux 12 host ttyS0\n\nhost login: ", "AgentNeverCalled", Mover.USER, "no cloud-init",
    ),
    "cloud-init alone": (BOOTED, "AgentNeverCalled", Mover.USER, "no route from the network net-1 to https://agents"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONSOLES)
def test_a_console_becomes_one_sentence(case: str) -> None:
    console, code, mover, said = CONSOLES[case]
    reason = decide_silence(console, "net-1", URL)
    assert (reason.code, reason.whose_move) == (code, mover)
    assert said in reason.message
    assert reason.message.startswith("Its agent never called: ")
    assert "\n" not in reason.message


def test_the_last_word_counts() -> None:
    healed = REACH + "Claim failed url=https://agents.example:8443 cause=refused again_in=3\n"
    assert "no route" in decide_silence(BOOTED + healed, "net-1", URL).message, "it could not even be reached before"
    twice = CANNOT.format("reach", "first") + CANNOT.format("reach", "second")
    assert decide_silence(twice, "net-1", URL).message.endswith("second")


def test_no_secret_and_no_control_character_is_left() -> None:
    token = "t0ken-of-this-very-server-0123456789"
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
    start = f"\x1b[0;32m  OK  \x1b[0m Started\r\nbootstrap {token} read\n"
    text = f"{start}{key}\npassword: hunter22hunter\n{'QUJD' * 40}\n\x07end"
    clean = scrub_console(text, token)
    assert clean.splitlines()[0] == "  OK   Started"
    for secret in (token, "MHcCAQEE", "hunter22hunter", "QUJDQUJD", "\x1b", "\x07", "\r"):
        assert secret not in clean
    assert clean.endswith("end")
    assert len(scrub_console("x " * 9000, token)) <= 4000
