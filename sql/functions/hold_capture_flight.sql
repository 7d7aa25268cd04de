-- Many captures (hold_capture). An amount of 0 means all of the hold.
CREATE OR REPLACE FUNCTION hold_capture_flight(p_user_ids uuid[], p_hold_ids uuid[],
                                               p_amounts int[], p_settle_ids uuid[],
                                               p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, balance int)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT c.outcome, c.balance INTO answer
        FROM hold_capture(p_user_ids[place], p_hold_ids[place], nullif(p_amounts[place], 0),
                          p_settle_ids[place], nullif(p_request_hashes[place], 0)) c;
        outcome := answer.outcome;
        balance := coalesce(answer.balance, 0);
        RETURN NEXT;
    END LOOP;
END
$$;
