"""The slipway command."""
