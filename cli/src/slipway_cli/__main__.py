"""`python -m slipway_cli`"""

from slipway_cli.main import run

if __name__ == "__main__":
    run()
