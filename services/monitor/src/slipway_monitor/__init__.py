"""Observes what is true now and tells whom it concerns."""
