"""What developers run: backends for tests and the demo, generated documents."""
