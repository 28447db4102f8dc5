"""Stateful fakes and builders: a cloud, a cluster's API, desired states, agents, and a service wired with them."""
