"""Jobs on DBOS: SQLite on one machine, PostgreSQL in production."""
