"""What the provisioner decides: no I/O, no framework."""
