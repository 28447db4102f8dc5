"""Looks for secrets in what was said: each secret in every shape that logs, JSON, YAML and dumps give it."""

import base64
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PRIVATE_KEYS = re.compile(r"-----BEGIN (?:EC )?PRIVATE KEY-----[^-]+-----END (?:EC )?PRIVATE KEY-----\n?")
_BLANK = re.compile(rb"\s|\\+[nrt]")
"""What may part the lines of a key: also as JSON and as JSON within JSON write it."""
_SHORTEST = 8
"""Bytes; shorter ones are found anywhere."""


@dataclass(frozen=True)
class Secret:
    """Something that nobody may say."""

    kind: str
    name: str
    text: str = field(repr=False)
    """As its owner has it."""
    needles: tuple[bytes, ...] = field(repr=False)
    """What betrays it."""


@dataclass(frozen=True)
class Betrayal:
    """A secret was found; without the secret itself, for this goes into a test's output."""

    secret: str
    place: str
    at: int


def a_text(kind: str, name: str, text: str) -> Secret:
    """A token or a password."""
    return Secret(kind, name, text, _shapes(text.encode()))


def a_binary(kind: str, name: str, encoded: str) -> Secret:
    """A symmetric key, given in base64."""
    return Secret(kind, name, encoded, _shapes(base64.b64decode(encoded)) + _shapes(encoded.encode()))


def a_private_key(kind: str, name: str, pem: str) -> Secret:
    """An EC key: its number in any encoding, and its PEM within another encoding, as kubeconfigs have it."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), f"{name}: all keys here are EC keys"
    number = key.private_numbers().private_value.to_bytes(key.key_size // 8, "big")
    lines = [line for line in pem.splitlines()[1:-1] if len(line) == 64][:2]
    return Secret(kind, name, pem, _shapes(number) + tuple(shape for line in lines for shape in _shapes(line.encode())))


def private_keys_in(text: str) -> list[str]:
    """The PEM keys in a file; those in a kubeconfig too."""
    found: list[str] = PRIVATE_KEYS.findall(text)
    for data in re.findall(r"client-key-data: (\S+)", text):
        found += PRIVATE_KEYS.findall(base64.b64decode(data).decode())
    return found


def find_betrayals(secrets: Iterable[Secret], places: Mapping[str, bytes]) -> list[Betrayal]:
    """Where any of the secrets is found; each once a place."""
    secrets = list(secrets)
    return [betrayal for place, said in places.items() for betrayal in _in_place(secrets, place, said)]


def _in_place(secrets: Iterable[Secret], place: str, said: bytes) -> Iterator[Betrayal]:
    together = _BLANK.sub(b"", said)
    for secret in secrets:
        found = [at for needle in secret.needles for at in (said.find(needle), together.find(needle)) if at >= 0]
        if found:
            yield Betrayal(f"{secret.kind}: {secret.name}", place, min(found))


def _shapes(value: bytes) -> tuple[bytes, ...]:
    """The value as it is, as Python prints it, in hexadecimal, and within base64 at any place."""
    assert len(value) >= _SHORTEST, "too short to be looked for"
    shapes = {value, repr(value)[2:-1].encode(), value.hex().encode(), value.hex().upper().encode()}
    for before in range(3):
        first, last = math.ceil(before * 8 / 6), (before + len(value)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            shapes.add(encode(bytes(before) + value)[first:last])
    return tuple(sorted(shapes))
