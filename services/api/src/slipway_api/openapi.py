"""`python -m slipway_api.openapi [FILE]`: writes the OpenAPI document, docs/openapi.json by default."""

import json
import sys
from pathlib import Path

from slipway_api.rest.web import build_fastapi


def document() -> str:
    """The document, as it is committed."""
    return json.dumps(build_fastapi().openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file; returns the exit code."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/openapi.json")
    target.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
