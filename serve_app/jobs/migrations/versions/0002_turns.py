"""An index in the order in which jobs get their turn: a claim no longer reads every waiting row."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("jobs_by_turn", "jobs", ["state", "tenant", "created_at", "id"])
