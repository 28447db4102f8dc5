"""TLS contexts from PEM text, cached by content: a host's files are in memory, `ssl` wants paths."""

import functools
import ssl
import tempfile
from pathlib import Path


@functools.lru_cache(maxsize=4096)
def server_context(certificate_pem: str, key_pem: str, client_ca_pem: str | None, *, required: bool) -> ssl.SSLContext:
    """For a server that asks for client certificates of `client_ca_pem`, and refuses clients without when `required`.

    Raises ssl.SSLError when certificate and key do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_pair(context, certificate_pem, key_pem)
    if client_ca_pem:
        context.load_verify_locations(cadata=client_ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


@functools.lru_cache(maxsize=4096)
def client_context(ca_pem: str | None, certificate_pem: str | None, key_pem: str | None) -> ssl.SSLContext:
    """For a client that trusts `ca_pem` alone (None: nobody is asked who he is), with a certificate or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if ca_pem:
        context.load_verify_locations(cadata=ca_pem)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate_pem and key_pem:
        _load_pair(context, certificate_pem, key_pem)
    return context


def _load_pair(context: ssl.SSLContext, certificate_pem: str, key_pem: str) -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-tls-") as folder:
        certificate, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        certificate.write_text(certificate_pem)
        key.touch(mode=0o600)
        key.write_text(key_pem)
        context.load_cert_chain(certificate, key)
