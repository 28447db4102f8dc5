"""Ids are in the order of time."""

from datetime import UTC, datetime, timedelta

from slipway_chassis.ids import first_id, new_id

MOMENT = datetime(2026, 1, 1, 12, 0, 0, 999_500, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def test_the_first_id_of_a_moment_parts_what_was_made_before_from_what_is_made_later() -> None:
    assert new_id(MOMENT - MILLISECOND) < first_id(MOMENT) < new_id(MOMENT) < new_id(MOMENT + MILLISECOND)
