-- What the handlers' role may do when it is not the owner: everything but changing the ledger, and
-- nothing with tables of the operator's.
-- The bootstrap calls this with the user of POSTGRES_URL after every change of the schema.
CREATE OR REPLACE FUNCTION application_grant(p_role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ours record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), p_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON users, user_identities,'
                   ' subscriptions, generations, usage_logs, payments, user_tokens, token_holds,'
                   ' plans, token_packages, app_settings, service_keys, payment_references,'
                   ' payment_refunds, payment_differences, payment_windows, erased_identities,'
                   ' address_uses, user_uploads TO %I', p_role);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER ON token_transactions'
                   ' FROM PUBLIC, %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT ON token_transactions TO %I', p_role);
    FOR ours IN
        SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.proowner = (SELECT c.relowner FROM pg_class c
                            WHERE c.oid = 'token_transactions'::regclass)
          AND p.prokind = 'f'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', ours.signature, p_role);
    END LOOP;
END
$$;
