"""Which round of the region a cluster waits for."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table('clusters', schema=None) as batch_op:
        batch_op.add_column(sa.Column('waits_for', sa.String(length=20), nullable=False, server_default=''))
        batch_op.drop_index(batch_op.f('ix_clusters_waits_for_region'))
        batch_op.create_index(batch_op.f('ix_clusters_waits_for'), ['waits_for'], unique=False)
        batch_op.drop_column('waits_for_region')


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('clusters', schema=None) as batch_op:
        batch_op.add_column(sa.Column('waits_for_region', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.drop_index(batch_op.f('ix_clusters_waits_for'))
        batch_op.create_index(batch_op.f('ix_clusters_waits_for_region'), ['waits_for_region'], unique=False)
        batch_op.drop_column('waits_for')
