"""The trace that each look follows from."""

import sqlalchemy as sa
from alembic import op

import slipway_chassis.database

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table('work', schema=None) as batch_op:
        batch_op.add_column(sa.Column('traceparent', sa.String(length=60), nullable=True))
        batch_op.add_column(sa.Column('traced_at', slipway_chassis.database.UtcDateTime(), nullable=True))



def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('work', schema=None) as batch_op:
        batch_op.drop_column('traced_at')
        batch_op.drop_column('traceparent')

