"""Structured logs: a constant sentence and key=value context, JSON for machines or columns for people."""

import logging
import sys

import structlog

_WARNINGS_ONLY = (
    "aio_pika", "aiormq", "aiosqlite", "httpcore", "httpx", "keystoneauth", "kubernetes_asyncio", "stevedore",
    "urllib3",
)  # fmt: skip
"""Libraries whose debugging is noise, or worse: httpcore shows the headers of answers, and Keystone's hold tokens;
kubernetes_asyncio shows whole bodies."""


def configure_logging(service: str, region: str, *, log_format: str, level: str) -> None:
    """Send everything, libraries included, through structlog to standard error.

    A traceback shows no local variables, in neither format: they may hold keys, tokens and passwords.
    """
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for each in _WARNINGS_ONLY:
        logging.getLogger(each).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service, region=region)
