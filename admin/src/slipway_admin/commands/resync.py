"""slipway-admin resync ..."""

from datetime import UTC, datetime
from typing import Annotated

import aio_pika
import typer
from aio_pika.abc import DeliveryMode

from slipway_admin.broker import connected
from slipway_admin.context import desk_of, run
from slipway_admin.errors import CommandFailed, Exit
from slipway_chassis.amqp import CONFIRM_WITHIN, user_of
from slipway_chassis.ids import new_id
from slipway_chassis.topology import GLOBAL_REGION
from slipway_contracts.envelope import sequence_text, source_of
from slipway_contracts.resync import OPERATOR, ResyncRequest, ResyncRequested

app = typer.Typer(help="Let services repeat what they have to say.", no_args_is_help=True)


@app.callback()
def before() -> None:
    """Let services repeat what they have to say."""


@app.command()
def ask(
    context: typer.Context,
    cluster: Annotated[str | None, typer.Option(help="Only of this cluster (its id).")] = None,
    region: Annotated[str, typer.Option(help="Only the services of this region; else all.")] = GLOBAL_REGION,
) -> None:
    """Ask all services to repeat everything they know now, not at the end of the ten minutes."""
    desk = desk_of(context)
    now = datetime.now(UTC)
    source = source_of(OPERATOR, region)
    try:
        event = ResyncRequested(
            id=new_id(now),
            type=ResyncRequested.TYPE,
            source=source,
            subject=f"resync/{source}",
            time=now,
            region=region,
            sequence=sequence_text(int(now.timestamp() * 1_000_000)),
            data=ResyncRequest(requester=source, cluster_id=cluster),
        )
    except ValueError as error:
        raise CommandFailed(Exit.CANNOT, f"{cluster} is no id of a cluster.") from error

    async def work() -> None:
        message = aio_pika.Message(
            event.to_json(),
            delivery_mode=DeliveryMode.PERSISTENT,
            content_type="application/cloudevents+json",
            message_id=event.id,
            user_id=user_of(desk.configuration.amqp_url),
        )
        async with connected(desk.configuration) as connection, connection.channel(on_return_raises=True) as channel:
            exchange = await channel.get_exchange(desk.names.events, ensure=False)
            try:
                await exchange.publish(message, event.routing_key, mandatory=True, timeout=CONFIRM_WITHIN)
            except aio_pika.exceptions.DeliveryError as returned:
                raise CommandFailed(Exit.FOUND, f"No service listens in {region}: does one run?") from returned
            except aio_pika.exceptions.AMQPError as refused:
                raise CommandFailed(Exit.CANNOT, f"The broker refuses it: {refused}") from refused

    run(work())
    typer.echo(f"Asked for {'cluster ' + cluster if cluster else 'everything'}.")
