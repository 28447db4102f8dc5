"""Where each service is: the catalogue that every scoped token carries."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json

SERVICES = (
    ("identity", "keystone", "/identity/v3"),
    ("image", "glance", "/image"),
    ("compute", "nova", "/compute/v2.1"),
    ("network", "neutron", "/network"),
    ("load-balancer", "octavia", "/load-balancer"),
    ("object-store", "swift", "/object-store/v1/AUTH_{project}"),
    ("block-storage", "cinder", "/block-storage/v3"),
)


def build_catalogue(origin: str, region: str, project_id: str) -> list[Json]:
    """The catalogue for a project, on the host name the caller used."""
    return [
        {
            "id": f"{index:032x}",
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": f"{index:016x}{number:016x}",
                    "interface": interface,
                    "region_id": region,
                    "region": region,
                    "url": origin + path.format(project=project_id),
                }
                for number, interface in enumerate(("public", "internal", "admin"), 1)
            ],
        }
        for index, (kind, name, path) in enumerate(SERVICES, 1)
    ]
