-- Many records of usage (usage_record), none of them counted by address: who waits for the lock
-- of an address would have users locked that others wait for.
CREATE OR REPLACE FUNCTION usage_record_flight(p_user_ids uuid[], p_usage_ids uuid[],
                                               p_actions text[], p_ip_addresses text[],
                                               p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, used int, usage_limit int, reset_at timestamp,
               retry_at timestamp)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT u.outcome, u.used, u.usage_limit, u.reset_at, u.retry_at INTO answer
        FROM usage_record(p_user_ids[place], p_usage_ids[place], p_actions[place],
                          p_ip_addresses[place], false, nullif(p_request_hashes[place], 0)) u;
        outcome := answer.outcome;
        used := coalesce(answer.used, 0);
        usage_limit := coalesce(answer.usage_limit, 0);
        reset_at := coalesce(answer.reset_at, timestamp 'epoch');
        retry_at := coalesce(answer.retry_at, timestamp 'epoch');
        RETURN NEXT;
    END LOOP;
END
$$;
