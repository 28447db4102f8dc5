"""The command slipway-admin: what operators need to see and mend."""
