"""The gateway of Slipway: REST for users, desired state, read model."""
