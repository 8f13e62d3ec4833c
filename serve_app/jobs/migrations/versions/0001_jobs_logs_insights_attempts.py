"""The four tables of the first releases, which made them without migrations: only what is missing is made."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    jobs()
    logs()
    insights()
    attempts()


def jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("control", sa.String(16), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lines", sa.Integer, nullable=False),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        if_not_exists=True,
    )
    op.create_index("jobs_by_state", "jobs", ["state", "lease_until"], if_not_exists=True)
    op.create_index("jobs_by_tenant", "jobs", ["tenant", "created_at"], if_not_exists=True)


def logs() -> None:
    op.create_table(
        "logs",
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("timestamp", sa.String(32), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("chunk_id", sa.String(128), nullable=False),
        sa.Column("extra", sa.JSON, nullable=False),
        if_not_exists=True,
    )


def insights() -> None:
    op.create_table(
        "insights",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("impact", sa.String(16), nullable=False),
        sa.Column("timestamp", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_insights_job_id", "insights", ["job_id"], if_not_exists=True)


def attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("fence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("outcome", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_attempts_began", "attempts", ["began"], if_not_exists=True)
