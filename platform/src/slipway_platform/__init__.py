"""The whole platform as processes on one machine: for the demo, system tests and measurements."""
