"""One trace shows a user's request through all services, up to the node's Ready."""

import secrets

import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.testing import User, until
from tests.system.collector import Collector, Span

pytestmark = pytest.mark.timeout(240)


def test_a_request_is_one_trace_up_to_the_nodes_ready(user: User, standing: str, collector: Collector) -> None:
    trace, asked_by = secrets.token_hex(16), secrets.token_hex(8)
    known = {node["name"] for node in user.nodes(standing)}
    answer = user.http.patch(
        f"/v1/clusters/{standing}/pools/worker", json={"count": 2}, headers={"traceparent": f"00-{trace}-{asked_by}-01"}
    )
    assert answer.status_code == 202, answer.text
    operation = answer.json()["operation"]["id"]
    until(lambda: user.get(f"/v1/operations/{operation}")["state"] == "succeeded", "the pool has two nodes", 150)
    (node,) = [each for each in user.nodes(standing) if each["name"] not in known]

    def ready() -> Span | None:
        """The healer hears that the new node is ready: the far end of the request."""
        heard = [span for span in collector.of(trace) if (span.service, span.name) == FAR_END]
        return next((span for span in heard if span.attributes["subject"].endswith(node["id"])), None)

    def told() -> bool:
        """Each service sends its spans when it likes: the whole way has come, from the node's Ready to the request."""
        end, spans = ready(), {span.id: span for span in collector.of(trace)}
        return end is not None and way_back(spans, end)[-1].parent == asked_by

    until(told, "the trace leads from the node's Ready back to the request", 30)
    spans = {span.id: span for span in collector.of(trace)}
    assert {span.service for span in spans.values()} == set(SERVICES)
    end = ready()
    assert end is not None
    path = way_back(spans, end)
    assert {each.service for each in path} >= {"api", "healer", "provisioner", "monitor"}
    assert path[-1].name == "PATCH /v1/clusters/{cluster}/pools/{pool}"
    assert any(span.name == "openstack POST compute" for span in spans.values()), "the server's creation is in it"
    steps = [span for span in spans.values() if span.attributes.get("node") == node["id"] and "step" in span.attributes]
    assert len(steps) >= 4, "what the agent did is in it"
    assert all(step.began <= step.ended for step in steps)
    user.slipway("pool", "scale", standing, "worker", "1")


FAR_END = ("healer", "receive slipway.node.ready.v1")


def way_back(spans: dict[str, Span], end: Span) -> list[Span]:
    """From a span to the one that nobody here is the parent of."""
    path = [end]
    while path[-1].parent in spans:
        path.append(spans[path[-1].parent])
    return path
