"""The OpenAPI document: FastAPI's, with the shapes that it cannot see and without those that are never answered."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from slipway_api.domain.views import EventView, Page, ProblemView

EVENTS_PAGE = "Page_EventView_"
UNSEEN: dict[str, type[BaseModel]] = {"ProblemView": ProblemView, EVENTS_PAGE: Page[EventView]}
"""Answers that no function returns as such: problems are raised, pages of events share a path with the stream."""
NEVER = ("HTTPValidationError", "ValidationError")
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}


class DescribedAPI(FastAPI):
    """A FastAPI application with a complete description."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            description = super().openapi()
            schemas = description["components"]["schemas"]
            for name, model in UNSEEN.items():
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
                schemas.update(schema.pop("$defs", {}))
                schemas[name] = schema
            for name in NEVER:
                schemas.pop(name, None)
            _mend_answers(description)
        return super().openapi()


def _mend_answers(description: dict[str, Any]) -> None:
    for methods in description["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    response["content"] = PROBLEM_CONTENT
