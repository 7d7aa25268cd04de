-- Many claims of the daily bonus (token_claim_bonus).
CREATE OR REPLACE FUNCTION token_claim_bonus_flight(p_user_ids uuid[], p_operation_ids uuid[],
                                                    p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, tokens_awarded int, balance int)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
DECLARE
    answer record;
BEGIN
    FOR place IN
        SELECT o.n::int FROM unnest(p_user_ids) WITH ORDINALITY AS o (user_id, n)
        ORDER BY o.user_id, o.n
    LOOP
        SELECT c.outcome, c.tokens_awarded, c.balance INTO answer
        FROM token_claim_bonus(p_user_ids[place], p_operation_ids[place],
                               nullif(p_request_hashes[place], 0)) c;
        outcome := answer.outcome;
        tokens_awarded := coalesce(answer.tokens_awarded, 0);
        balance := coalesce(answer.balance, 0);
        RETURN NEXT;
    END LOOP;
END
$$;
