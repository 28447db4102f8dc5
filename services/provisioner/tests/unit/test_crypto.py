"""Secrets at rest."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_provisioner.crypto import CannotOpen, MasterKey, load_master_key

KEY = MasterKey(b"k" * 32)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_was_sealed_for_a_place_opens_there(secret: bytes, place: str) -> None:
    assert KEY.open(KEY.seal(secret, place), place) == secret


def test_a_value_moved_to_another_place_does_not_open() -> None:
    sealed = KEY.seal(b"secret", "cluster-key/a/kubernetes")
    with pytest.raises(CannotOpen, match="another place"):
        KEY.open(sealed, "cluster-key/b/kubernetes")


@given(st.integers(min_value=0))
def test_a_changed_bit_is_noticed(position: int) -> None:
    sealed = bytearray(KEY.seal(b"secret", "place"))
    sealed[position // 8 % len(sealed)] ^= 1 << position % 8
    with pytest.raises(CannotOpen):
        KEY.open(bytes(sealed), "place")


def test_another_master_key_is_told_apart_from_a_damaged_value() -> None:
    with pytest.raises(CannotOpen, match="another master key"):
        MasterKey(b"o" * 32).open(KEY.seal(b"secret", "place"), "place")


def test_two_seals_of_one_secret_differ() -> None:
    assert KEY.seal(b"secret", "place") != KEY.seal(b"secret", "place")


def test_derived_secrets_are_the_same_each_time_and_differ_by_purpose_and_key() -> None:
    assert KEY.derive("token/1") == MasterKey(b"k" * 32).derive("token/1")
    assert len({KEY.derive("token/1"), KEY.derive("token/2"), MasterKey(b"o" * 32).derive("token/1")}) == 3


def test_neither_the_key_nor_its_representation_shows_the_secret() -> None:
    assert "kkkk" not in repr(KEY)


def test_a_master_key_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(base64.b64encode(b"k" * 32).decode() + "\n")
    assert load_master_key(file).derive("x") == KEY.derive("x")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing file"),
        pytest.param("not base64!", id="not base64"),
        pytest.param(base64.b64encode(b"short").decode(), id="too short"),
    ],
)
def test_an_unusable_master_key_says_how_to_make_one(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "master.key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"master.key: .* make one with: head"):
        load_master_key(file)
