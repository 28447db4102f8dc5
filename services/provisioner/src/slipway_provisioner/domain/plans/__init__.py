"""Plans: what a node should be, rendered from what the provisioner knows. Pure."""
