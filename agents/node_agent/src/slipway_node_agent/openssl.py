"""Keys and certificates by the openssl program: the standard library has no asymmetric cryptography.

Keys pass through stdin, never through arguments, which other users of the machine could read.
"""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timezone

from slipway_node_agent.host import CertificateFacts, HostRefused
from slipway_node_agent.process import run_program

TIMEOUT = 30.0

_PUBLIC_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:EC )?PRIVATE KEY-----.*?-----END (?:EC )?PRIVATE KEY-----\n?", re.DOTALL)
_REQUEST = re.compile(r"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----\n?", re.DOTALL)
_NOT_AFTER = re.compile(r"^notAfter=(.+)$", re.MULTILINE)


def generate_key() -> str:
    """A new EC P-256 private key, PEM. Raises HostRefused where openssl cannot."""
    arguments = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    return _one(_PRIVATE_KEY, _openssl(*arguments), "make a key")


def make_csr(key_pem: str, common_name: str) -> str:
    """A certificate signing request by this key, PEM; raises HostRefused. The signer ignores the subject."""
    subject = "/CN=" + re.sub(r"[^\w.-]", "-", common_name)[:64]
    answer = _openssl("req", "-new", "-batch", "-sha256", "-key", "/dev/stdin", "-subj", subject, stdin=key_pem)
    return _one(_REQUEST, answer, "make a certificate request")


def public_key(key_pem: str) -> str | None:
    """The public key of a private one, PEM; None when the text is no key."""
    found = _PUBLIC_KEY.search(_openssl("pkey", "-pubout", stdin=key_pem))
    return found.group() if found else None


def certificate(cert_pem: str) -> CertificateFacts | None:
    """Public key and end of the first certificate in the text, None when there is none."""
    answer = _openssl("x509", "-noout", "-pubkey", "-enddate", stdin=cert_pem)
    key, end = _PUBLIC_KEY.search(answer), _NOT_AFTER.search(answer)
    if key is None or end is None:
        return None
    return CertificateFacts(key.group(), datetime.fromtimestamp(ssl.cert_time_to_seconds(end.group(1)), timezone.utc))


def _openssl(*arguments: str, stdin: str = "") -> str:
    ended = run_program(["openssl", *arguments], {}, TIMEOUT, stdin)
    if ended.exit_code == 127:
        raise HostRefused("OpensslMissing", "the program openssl is missing: use an image that has it")
    return ended.output


def _one(pattern: re.Pattern[str], answer: str, purpose: str) -> str:
    found = pattern.search(answer)
    if found is None:
        # What openssl printed may hold parts of a key.
        raise HostRefused("OpensslFailed", f"openssl could not {purpose} on this machine")
    return found.group()
