"""What all tests share: where RabbitMQ and PostgreSQL are. `make test` finds or starts them and sets the variables."""

import os

import pytest


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A RabbitMQ to test against."""
    url = os.environ.get("AMQP_URL")
    if not url:
        pytest.skip("no RabbitMQ: run `make test`, or set AMQP_URL=amqp://user:password@host:5672/")
    return url


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL to make databases in, as postgresql://user@host:port/postgres."""
    url = os.environ.get("POSTGRES_URL")
    if not url:
        pytest.skip("no PostgreSQL: run `make test`, or set POSTGRES_URL=postgresql://user@host:5432/postgres")
    return url
