"""Answers of this service's HTTP interfaces, independent of the transport; errors as problem details (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """A status with a JSON object, bytes or nothing."""

    status: int
    body: dict[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The request is answered with this problem; what the transaction did so far is undone."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.answer = problem(status, code, detail)


def problem(status: HTTPStatus, code: str, detail: str) -> Answer:
    """A problem document; `code` is for machines, `detail` says what to do."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "code": code, "detail": detail}
    return Answer(int(status), body)


def parse(model: type[M], body: Mapping[str, Any] | None) -> M:
    """The body as this model; Refused with 422 names the field that is wrong, never its value."""
    try:
        return model.model_validate(body if body is not None else {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidBody", f"{where}: {first['msg']}") from error
