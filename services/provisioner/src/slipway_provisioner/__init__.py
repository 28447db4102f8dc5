"""Makes single nodes, endpoints and keys real in OpenStack."""
