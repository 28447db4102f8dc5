"""What should exist and when it is safer to do nothing: pure functions, no I/O, no framework."""
