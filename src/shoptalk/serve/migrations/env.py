"""What Alembic runs: the steps, on the connection that it was given."""

from alembic import context

from shoptalk.serve.rows import Rows

context.configure(connection=context.config.attributes["connection"], target_metadata=Rows.metadata)
context.run_migrations()
