"""A throwaway CA by the openssl program, for tests of the real machine and the real driver."""

from __future__ import annotations

import subprocess
from pathlib import Path

LEAF = "basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Signs in a folder of its own."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        added = [word for extension in extensions for word in ("-addext", extension)]
        out = ["-keyout", str(self.key), "-out", str(self.certificate), "-days", "2"]
        openssl("req", "-x509", *KEY, *out, "-subj", f"/CN={name}", *added)

    @property
    def key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def pem(self) -> str:
        return self.certificate.read_text()

    def sign(self, csr_pem: str, extensions: str = LEAF, days: int = 1) -> str:
        """A certificate for the key of the request."""
        request, config = self.folder / "request.csr", self.folder / "extensions"
        request.write_text(csr_pem)
        config.write_text(extensions)
        by = ["-CA", str(self.certificate), "-CAkey", str(self.key), "-CAcreateserial"]
        return openssl("x509", "-req", "-in", str(request), *by, "-days", str(days), "-extfile", str(config))

    def server(self) -> tuple[Path, Path]:
        """Certificate and key of a server at 127.0.0.1."""
        key, csr, cert = (self.folder / f"server.{end}" for end in ("key", "csr", "crt"))
        openssl("req", "-new", *KEY, "-keyout", str(key), "-out", str(csr), "-subj", "/CN=server")
        cert.write_text(self.sign(csr.read_text(), LEAF + "subjectAltName=IP:127.0.0.1\n"))
        return cert, key


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True, timeout=30).stdout
