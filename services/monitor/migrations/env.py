"""Alembic's entry point for this service."""

from slipway_chassis.migrations import run_env

run_env("monitor")
