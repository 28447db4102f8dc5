"""The machine runner: a node agent on an emulated host for each server, and a Kubernetes API for each cluster."""
