"""How anything of ours gets to the broker: as which user, over TLS with the operator's CA, declaring what it may."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aio_pika import ExchangeType
from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from yarl import URL

CONFIRM_WITHIN = 5.0
"""Seconds that the broker has to confirm a message."""


class BrokerSettings(Protocol):
    """The settings of a connection to RabbitMQ."""

    @property
    def amqp_url(self) -> str:
        """amqp:// or amqps://, with user, password and virtual host."""

    @property
    def amqp_ca_file(self) -> Path | None:
        """The CA of the broker's certificate (PEM)."""

    @property
    def amqp_cert_file(self) -> Path | None:
        """Our own certificate, for a broker that wants one (PEM)."""

    @property
    def amqp_key_file(self) -> Path | None:
        """Its key (PEM)."""


def user_of(amqp_url: str) -> str:
    """The user that this URL connects as; RabbitMQ's own default where it names none."""
    return URL(amqp_url).user or "guest"


def tls_of(settings: BrokerSettings) -> ssl.SSLContext | None:
    """The TLS context of an amqps:// URL, None for amqp://. ValueError says which file is wrong or too many."""
    files = (settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
    if URL(settings.amqp_url).scheme != "amqps":
        if any(files):
            raise ValueError("amqp_ca_file, amqp_cert_file and amqp_key_file are for an amqps:// URL; this is amqp://")
        return None
    if (settings.amqp_cert_file is None) != (settings.amqp_key_file is None):
        raise ValueError("amqp_cert_file and amqp_key_file belong together: set both or none")
    named = ", ".join(str(each) for each in files if each is not None)
    try:
        context = ssl.create_default_context(cafile=settings.amqp_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.amqp_cert_file is not None:
            context.load_cert_chain(settings.amqp_cert_file, settings.amqp_key_file)
    except OSError as error:
        raise ValueError(f"the files for the broker's TLS cannot be used ({named}): {error}") from error
    return context


Declare = Callable[..., Awaitable[Any]]
"""`declare(channel, passive=...)`: makes an exchange or a queue, or only looks whether it is there."""


def an_exchange(name: str) -> Declare:
    """Declares one of our exchanges: topic, so that permissions can tell routing keys apart."""

    async def declare(channel: AbstractRobustChannel, *, passive: bool) -> Any:
        return await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True, passive=passive)

    return declare


async def ours_or_theirs(connection: AbstractRobustConnection, declare: Declare) -> Any:
    """Declare it, or take it as it is where only the operator may make it; each on a channel of its own."""
    channel: Any = await connection.channel()
    try:
        return await declare(channel, passive=False)
    except (ChannelAccessRefused, ChannelPreconditionFailed):
        await channel.close()
    return await declare(await connection.channel(), passive=True)
