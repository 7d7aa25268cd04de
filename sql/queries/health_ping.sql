-- Whether the database answers and takes writes.
SELECT current_setting('transaction_read_only') = 'off' AS writable,
       current_setting('max_connections')::int AS max_connections
