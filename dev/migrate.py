"""Migrations: `python -m dev.migrate new SERVICE "what changes"` writes a revision from the models' difference."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from slipway_chassis.migrations import config_of, folder_of, upgrade

TEMPLATE = '''"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
import slipway_chassis.database

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take back."""
    ${downgrades if downgrades else "pass"}
'''

ENV = '''"""Alembic's entry point for this service."""

from slipway_chassis.migrations import run_env

run_env("{service}")
'''


def new(service: str, message: str) -> None:
    """Write the next revision of a service."""
    folder = folder_of(service)
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    if not (folder / "env.py").exists():
        (folder / "env.py").write_text(ENV.format(service=service))
    template = folder / "script.py.mako"
    template.write_text(TEMPLATE)
    number = len(list((folder / "versions").glob("*.py"))) + 1
    with tempfile.TemporaryDirectory() as scratch:
        url = f"sqlite+aiosqlite:///{Path(scratch) / 'scratch.db'}"
        if number > 1:
            upgrade(service, url)
        config = config_of(service, url)
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")
    template.unlink()


if __name__ == "__main__":
    action, *arguments = sys.argv[1:]
    if action != "new" or len(arguments) != 2:
        sys.exit(__doc__)
    new(*arguments)
