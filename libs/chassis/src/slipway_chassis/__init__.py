"""What every service of Slipway stands on: bus, facts, outbox, work queue, clock, settings, health.

Each module is small enough to read in one sitting. `service.Service` puts them together; `runner.run_service` runs one.
"""
