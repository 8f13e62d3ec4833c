"""Tenants with their keys, what their jobs cost, and what they are told; jobs have a turn, a size and edits."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _add_columns()
    _name_tenants_of_attempts()
    _add_tenants()
    _add_usage()
    _add_deliveries()


def _add_columns() -> None:
    op.add_column("jobs", sa.Column("turn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("video_s", sa.Double, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("edits", sa.JSON))
    op.drop_index("jobs_by_turn", "jobs")
    op.create_index("jobs_by_turn", "jobs", ["state", "tenant", "turn", "created_at", "id"])
    op.create_index("jobs_by_size", "jobs", ["tenant", "stored_bytes"])


def _name_tenants_of_attempts() -> None:
    op.add_column("attempts", sa.Column("tenant", sa.String(255), nullable=False, server_default=sa.text("''")))
    op.execute("UPDATE attempts SET tenant = (SELECT tenant FROM jobs WHERE jobs.id = attempts.job_id)")
    op.drop_index("ix_attempts_began", "attempts")
    op.create_index("attempts_by_began", "attempts", ["began", "tenant"])


def _add_tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("running", sa.Integer),
        sa.Column("queued", sa.Integer),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("video_minutes_a_day", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(255), sa.ForeignKey("tenants.name"), nullable=False, index=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
    )


def _add_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("video_s", sa.Double, nullable=False),
        sa.Column("audio_s", sa.Double, nullable=False),
        sa.Column("characters_translated", sa.BigInteger, nullable=False),
        sa.Column("characters_spoken", sa.BigInteger, nullable=False),
        sa.Column("cpu_s", sa.Double, nullable=False),
        sa.Column("gpu_s", sa.Double, nullable=False),
    )
    op.create_index("usage_by_tenant", "usage", ["tenant", "at"])


def _add_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), nullable=False, index=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("delivered_at", sa.Double),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("deliveries_by_due", "deliveries", ["due_at"])
