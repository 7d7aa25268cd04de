-- Every key ever made.
SELECT name, scopes, created_at, revoked_at FROM service_keys ORDER BY name
