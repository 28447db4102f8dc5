"""What the cloud's failures become: through the real adapter, with faults ordered from the emulated cloud."""

from datetime import timedelta

import pytest
import requests

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.values import Mover
from slipway_provisioner.adapters.failures import failure_of, was_not_sent
from slipway_provisioner.domain.model import Kind, Mark, PortOrder, ServerOrder
from slipway_provisioner.ports import Conflict, OutcomeUnknown
from slipway_sandbox.cloud.faults import Effect, Fault

ANSWERS = [
    (
        "a quota of Nova",
        403,
        '{"forbidden": {"message": "Quota exceeded for instances: Requested 1"}}',
        "QuotaExceeded",
    ),
    (
        "a quota of Neutron",
        409,
        '{"NeutronError": {"message": "Quota exceeded for resources: [\'port\']."}}',
        "QuotaExceeded",
    ),
    ("a missing role", 403, '{"forbidden": {"message": "Policy does not allow this"}}', "CloudForbids"),
    ("a conflict", 409, '{"conflictingRequest": {"message": "Port is still in use."}}', "CloudConflict"),
    ("too many requests", 429, "", "CloudBusy"),
    ("a service that is away", 503, "<html>no server is available</html>", "CloudBusy"),
    ("a server's mistake", 500, '{"computeFault": {"message": "Unexpected API Error."}}', "CloudFailed"),
    (
        "an expired user",
        401,
        '{"error": {"message": "The request you have made requires authentication."}}',
        "CloudRefusesUser",
    ),
    ("a bad request", 400, '{"badRequest": {"message": "Invalid imageRef provided."}}', "CloudRefuses"),
    ("Octavia's words", 400, '{"faultcode": "Client", "faultstring": "Invalid input"}', "CloudRefuses"),
]


@pytest.mark.parametrize(("status", "text", "code"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
def test_an_answer_becomes_one_of_two_failures(status: int, text: str, code: str) -> None:
    failure = failure_of("compute", "POST", status, text, {})
    assert failure.reason.code == code
    assert isinstance(failure, GiveUp) is (code == "CloudRefuses")
    assert failure.reason.message


def test_retry_after_is_honoured_within_reason() -> None:
    def after(value: str) -> timedelta:
        failure = failure_of("network", "GET", 429, "", {"Retry-After": value})
        assert isinstance(failure, RetryLater)
        return failure.after

    assert after("17") == timedelta(seconds=17)
    assert after("999999") == timedelta(minutes=5)
    assert after("Wed, 21 Oct 2026 07:28:00 GMT") == timedelta(seconds=5)


def test_only_what_had_no_connection_was_certainly_not_sent() -> None:
    assert was_not_sent(requests.exceptions.ConnectTimeout())
    assert was_not_sent(requests.exceptions.ConnectionError("Connection refused"))
    assert not was_not_sent(requests.exceptions.ReadTimeout())
    assert not was_not_sent(requests.exceptions.ConnectionError("Connection aborted"))


async def test_work_that_was_done_without_an_answer_is_found(sandboxed) -> None:
    site = sandboxed.site
    await site.cloud.answers(site.project_id)
    sandboxed.sandbox.faults.add(Fault(Effect.TIMEOUT_AFTER, service="network", method="POST", path="/ports"))
    order = PortOrder("port", Mark("resource-1", "cluster-1"), site.network_id)
    with pytest.raises(OutcomeUnknown):
        await site.cloud.create(site.project_id, order)
    assert len(await site.cloud.find(site.project_id, Kind.PORT, "port", "resource-1")) == 1


@pytest.mark.parametrize("effect", [Effect.CUT, Effect.TIMEOUT_BEFORE])
async def test_an_answer_that_does_not_arrive_leaves_the_outcome_unknown(sandboxed, effect: Effect) -> None:
    site = sandboxed.site
    await site.cloud.answers(site.project_id)
    sandboxed.sandbox.faults.add(Fault(effect, service="network", method="POST", path="/ports"))
    with pytest.raises(OutcomeUnknown):
        await site.cloud.create(site.project_id, PortOrder("port", Mark("r", "c"), site.network_id))


async def test_a_refused_connection_is_certainly_not_done(sandboxed) -> None:
    site = sandboxed.site
    await site.cloud.answers(site.project_id)
    sandboxed.sandbox.faults.add(Fault(Effect.REFUSE, service="network", method="POST", path="/ports"))
    with pytest.raises(RetryLater) as raised:
        await site.cloud.create(site.project_id, PortOrder("port", Mark("r", "c"), site.network_id))
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_whole_cloud_away_is_waited_for(sandboxed) -> None:
    sandboxed.sandbox.faults.add(Fault(Effect.REFUSE, count=None))
    with pytest.raises(RetryLater) as raised:
        await sandboxed.site.cloud.answers(sandboxed.site.project_id)
    assert raised.value.reason.whose_move in (Mover.CLOUD, Mover.OPERATOR)


async def test_a_revoked_token_is_renewed_without_a_word(sandboxed) -> None:
    site = sandboxed.site
    await site.cloud.answers(site.project_id)
    sandboxed.sandbox.revoke_tokens()
    await site.cloud.answers(site.project_id)


async def test_an_unknown_flavor_is_given_up(sandboxed) -> None:
    site = sandboxed.site
    port_id = await site.cloud.create(site.project_id, PortOrder("port", Mark("r", "c"), site.network_id))
    order = ServerOrder(
        "s", Mark("r2", "c", "n", 1), site.image_id, "no-such-flavor", port_id, None, None, "#cloud-config"
    )
    with pytest.raises(GiveUp) as raised:
        await site.cloud.create(site.project_id, order)
    assert "lavor" in raised.value.reason.message


async def test_a_conflict_while_the_balancer_changes_is_waited_for(sandboxed) -> None:
    site = sandboxed.site
    sandboxed.sandbox.faults.add(Fault(Effect.STATUS, service="network", method="POST", status=409))
    with pytest.raises(Conflict):
        await site.cloud.create(site.project_id, PortOrder("port", Mark("r", "c"), site.network_id))


async def test_a_foreign_project_is_not_entered(sandboxed) -> None:
    with pytest.raises(RetryLater) as raised:
        await sandboxed.site.cloud.answers("00000000000040008000000000000000")
    assert raised.value.reason.whose_move is Mover.OPERATOR
