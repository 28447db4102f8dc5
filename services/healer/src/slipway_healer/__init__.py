"""Decides which nodes should exist."""
