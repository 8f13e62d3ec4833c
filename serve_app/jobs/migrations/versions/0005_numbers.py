"""Insights and calls are numbered beyond two thousand million, which SQLite does anyhow; calls are found by date."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("calls_by_date", "calls", ["at"])
    if op.get_bind().dialect.name == "postgresql":
        for table in ("insights", "calls"):
            op.alter_column(table, "number", type_=sa.BigInteger)
            op.execute(f"ALTER SEQUENCE {table}_number_seq AS bigint")
