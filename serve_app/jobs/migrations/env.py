"""What Alembic runs around each step: on the connection it is given, or on DATABASE_URL when called from the shell."""

from alembic import context
from sqlalchemy import Connection

from configs.app import Roots
from serve_app.jobs.database import Database
from serve_app.jobs.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with Database(Roots.from_environment().database_url.get_secret_value()).migrating() as opened:
        run(opened)
