"""The REST API: a thin layer that turns requests into calls and answers into JSON."""
