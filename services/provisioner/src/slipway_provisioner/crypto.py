"""Secrets at rest: each is sealed under a data key of its own, which is sealed under the region's master key.

A sealed value is bound to its place (AES-GCM's associated data): moved to another row it does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
_ID_SIZE = 8
_WRAPPED_SIZE = KEY_SIZE + _TAG_SIZE
_VERSION = b"\x01"
_HEADER_SIZE = len(_VERSION) + _ID_SIZE + _NONCE_SIZE + _WRAPPED_SIZE + _NONCE_SIZE


class CannotOpen(Exception):
    """The value was sealed under another master key, for another place, or was changed."""


class MasterKey:
    """The region's master key: 32 random bytes that live outside the database."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a master key has {KEY_SIZE} bytes, this one has {len(key)}")
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"slipway master key id" + key).digest()[:_ID_SIZE]
        self._derivation = hmac.digest(key, b"slipway derivation key", "sha256")

    def __repr__(self) -> str:
        return f"MasterKey({self._id.hex()})"

    def seal(self, secret: bytes, place: str) -> bytes:
        """Encrypt for this place, e.g. `<cluster id>/<name>`."""
        data_key = os.urandom(KEY_SIZE)
        aad = place.encode()
        outer, inner = os.urandom(_NONCE_SIZE), os.urandom(_NONCE_SIZE)
        wrapped = self._cipher.encrypt(outer, data_key, aad)
        return _VERSION + self._id + outer + wrapped + inner + AESGCM(data_key).encrypt(inner, secret, aad)

    def open(self, sealed: bytes, place: str) -> bytes:
        """The secret again; CannotOpen when it was not sealed by this key for this place."""
        if len(sealed) < _HEADER_SIZE + _TAG_SIZE or sealed[:1] != _VERSION:
            raise CannotOpen(f"{place}: this is no sealed value")
        if sealed[1 : 1 + _ID_SIZE] != self._id:
            raise CannotOpen(f"{place}: sealed under another master key; give the service the key it was sealed with")
        at = 1 + _ID_SIZE
        outer, at = sealed[at : at + _NONCE_SIZE], at + _NONCE_SIZE
        wrapped, at = sealed[at : at + _WRAPPED_SIZE], at + _WRAPPED_SIZE
        inner, at = sealed[at : at + _NONCE_SIZE], at + _NONCE_SIZE
        aad = place.encode()
        try:
            data_key = self._cipher.decrypt(outer, wrapped, aad)
            return AESGCM(data_key).decrypt(inner, sealed[at:], aad)
        except InvalidTag as error:
            raise CannotOpen(f"{place}: the value was changed or belongs to another place") from error

    def derive(self, purpose: str) -> str:
        """A secret text (256 bits, base64url) that is the same each time for this purpose and not stored anywhere."""
        digest = hmac.digest(self._derivation, purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def load_master_key(path: Path) -> MasterKey:
    """Read the file that holds 32 bytes in base64; ValueError says what to do."""
    hint = "make one with: head -c 32 /dev/urandom | base64"
    try:
        return MasterKey(base64.b64decode(path.read_text().strip(), validate=True))
    except OSError as error:
        raise ValueError(f"{path}: the master key cannot be read: {error.strerror}; {hint}") from error
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{path}: this is no base64 of {KEY_SIZE} bytes; {hint}") from error
