"""The OpenAPI document says what is true."""

import json

from slipway_api.domain.problems import CATALOGUE
from slipway_api.openapi import document

DESCRIPTION = json.loads(document())


def test_every_reference_leads_somewhere() -> None:
    names = {part.split('"')[0] for part in document().split("#/components/schemas/")[1:]}
    assert names <= set(DESCRIPTION["components"]["schemas"])


def test_every_path_says_what_its_errors_look_like() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    assert list(response["content"]) == ["application/problem+json"], (path, method, status)


def test_every_change_may_be_repeated_and_made_conditional() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for method in set(methods) & {"post", "patch", "delete"}:
            headers = {each["name"] for each in methods[method]["parameters"] if each["in"] == "header"}
            assert {"Idempotency-Key", "If-Match", "X-Auth-Token"} <= headers, (path, method)


def test_requests_have_examples() -> None:
    for name in ("ClusterRequest", "PoolRequest", "PoolChange"):
        assert DESCRIPTION["components"]["schemas"][name]["examples"]


def test_every_status_of_a_refused_change_is_described() -> None:
    """Beside those that every HTTP service has: a wrong method, a large body, another media type, a mistake of ours."""
    described = set(DESCRIPTION["paths"]["/v1/clusters/{cluster}"]["patch"]["responses"])
    assert {str(status) for status, _ in CATALOGUE.values()} - {"405", "413", "415", "500"} <= described
