"""Calls of the audio routes; when a job was last let in, and with which file; what attempts have used so far."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("admitted_at", sa.Double, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("film", sa.String(64), nullable=False, server_default=sa.text("''")))
    op.execute("UPDATE jobs SET admitted_at = created_at")
    op.create_index("jobs_by_admission", "jobs", ["tenant", "admitted_at"])
    op.add_column("attempts", sa.Column("spent", sa.JSON))
    op.create_table(
        "calls",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("audio_s", sa.Double, nullable=False),
        sa.Column("characters_translated", sa.BigInteger, nullable=False),
        sa.Column("characters_spoken", sa.BigInteger, nullable=False),
        sa.Column("cpu_s", sa.Double, nullable=False),
        sa.Column("gpu_s", sa.Double, nullable=False),
    )
    op.create_index("calls_by_tenant", "calls", ["tenant", "at"])
