"""The images of a release."""

import pytest

from slipway_addon_manager.domain.definitions import DEFINITIONS
from slipway_addon_manager.testing import IMAGES, some_releases
from slipway_chassis.errors import GiveUp
from slipway_chassis.releases import REQUIRED_IMAGES


def test_the_images_of_a_release_are_found() -> None:
    assert some_releases().images("v1.36.3") == IMAGES


def test_every_image_of_an_addon_is_one_that_each_release_must_have() -> None:
    assert {image for definition in DEFINITIONS for image in definition.images} <= set(REQUIRED_IMAGES)


def test_an_unknown_release_names_the_known_ones() -> None:
    with pytest.raises(GiveUp, match=r"no release v1\.30\.0; releases.yaml has: v1\.36\.3"):
        some_releases().images("v1.30.0")
