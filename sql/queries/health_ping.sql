-- Whether the database answers and takes writes.
SELECT NOT pg_is_in_recovery() AS writable,
       current_setting('max_connections')::int AS max_connections
