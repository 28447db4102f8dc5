"""The agent on every node: applies its plan, reports what it sees. Standard library only, Python 3.9 and newer."""

__version__ = "0.2.0"
