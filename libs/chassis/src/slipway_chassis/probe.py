"""Asks a service on this machine whether it is ready: `python -m slipway_chassis.probe healer`, for health checks.

The exit code is 0 when it is, 1 when it is not; what is missing goes to standard output.
"""

import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever proxy the environment names: it is for the cloud, not for this machine."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Ask the service of this name where its settings say that it listens."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m slipway_chassis.probe SERVICE\n")
        return 2
    prefix = f"SLIPWAY_{arguments[0].upper()}_"
    port = environ.get(f"{prefix}HTTP_PORT", "0")
    host = environ.get(f"{prefix}HTTP_HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    if not port.isdecimal() or port == "0":
        sys.stderr.write(f"set {prefix}HTTP_PORT: a free port of the service's own choice cannot be asked\n")
        return 2
    try:
        with _DIRECTLY.open(f"http://{host}:{port}/readyz", timeout=4) as answer:
            said, ready = answer.read().decode(), True
    except urllib.error.HTTPError as error:
        said, ready = error.read().decode(), False
    except (OSError, http.client.HTTPException) as error:
        said, ready = f"it does not answer: {error}", False
    sys.stdout.write(f"{said}\n")
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
