"""Decides and applies what runs inside each cluster."""
