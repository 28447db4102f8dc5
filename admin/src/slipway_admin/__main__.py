"""`python -m slipway_admin`"""

from slipway_admin.main import run

if __name__ == "__main__":
    run()
