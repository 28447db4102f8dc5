"""What the monitor concludes from what it saw: pure, no I/O, no framework."""
