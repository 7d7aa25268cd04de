-- Many movements (ledger_post), independent of one another. Those of one user are done in the order
-- they have here, summed up: one new balance for each user, one entry for each movement.
-- Repeated keys are rare, so nothing looks for them at first: an entry that is there already, or a
-- row that somebody has for a while, undoes the set, and the second attempt knows what it leaves
-- out.
-- Whatever is not simple goes through ledger_post itself, movement by movement, all of its user's:
-- a key that was used before, an account that is closed, holds that expired, a balance that does
-- not allow every movement. Such a user's row may come before one that is locked already; where
-- somebody else has it, nobody waits and the answer is 'alone': the caller sends it by itself.
-- A plan made while the tables were small stays when they are large: hence no scans of whole ones.
CREATE OR REPLACE FUNCTION ledger_post_flight(p_user_ids uuid[], p_ids uuid[], p_amounts int[],
                                              p_types text[], p_descriptions text[],
                                              p_request_hashes bigint[])
RETURNS TABLE (place int, outcome text, balance int)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET lock_timeout = '500ms'
AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    keyed boolean := EXISTS (SELECT 1 FROM unnest(p_request_hashes) AS h (request_hash)
                             WHERE h.request_hash <> 0);
    looked boolean := false; -- whether the next two are known
    busy int[] := '{}';      -- places of movements whose key somebody else is using
    apart uuid[] := '{}';    -- users whose movements are not simple, as far as keys tell
    places int[];            -- of the movements that were, and what each entry says
    balances int[];
    helds int[];
    stamps timestamp[];
    highest uuid;            -- of the users whose row is locked
    owner uuid;
    ready boolean;
    movement record;
    answer record;
BEGIN
    IF keyed THEN
        PERFORM set_config('lock_timeout', '100ms', true); -- it may be a key that is in use
    END IF;
    LOOP
        BEGIN
            -- low, high: the least and the largest the balance changes by on the way to the total.
            -- An entry is a microsecond younger than the one before it, and the last one has the
            -- balance row's time.
            WITH moved AS (
                UPDATE user_tokens t
                SET balance = t.balance + s.total::int,
                    updated_at = greatest(present,
                                          t.updated_at + s.times * interval '1 microsecond')
                FROM (SELECT w.user_id, count(*) AS times, sum(w.amount) AS total,
                             min(w.upto) AS low, max(w.upto) AS high, array_agg(w.n) AS places,
                             array_agg(w.upto) AS uptos
                      FROM (SELECT o.user_id, o.amount, o.n::int,
                                   sum(o.amount) OVER (PARTITION BY o.user_id ORDER BY o.n) AS upto
                            FROM unnest(p_user_ids, p_amounts)
                                 WITH ORDINALITY AS o (user_id, amount, n)
                            WHERE o.user_id <> ALL (apart) AND o.n <> ALL (busy)) w
                      GROUP BY w.user_id
                      ORDER BY w.user_id) s
                WHERE t.user_id = s.user_id AND t.closed_at IS NULL
                  AND t.balance - t.held + s.low >= 0
                  AND t.balance + s.high <= 2147483647
                  AND (t.next_hold_expiry IS NULL OR t.next_hold_expiry > present)
                RETURNING t.balance - s.total AS before, t.held, s.places, s.uptos,
                          t.updated_at - s.times * interval '1 microsecond' AS since
            )
            SELECT array_agg(r.place), array_agg((m.before + r.upto)::int), array_agg(m.held),
                   array_agg(m.since + r.turn * interval '1 microsecond')
            INTO places, balances, helds, stamps
            FROM moved m, unnest(m.places, m.uptos) WITH ORDINALITY AS r (place, upto, turn);

            -- A capture writes an entry of the hold's id, so a hold's key is no movement's. With
            -- the users' rows locked, nobody makes another hold.
            IF keyed AND EXISTS (
                SELECT 1 FROM unnest(places) AS r (place)
                WHERE p_request_hashes[r.place] <> 0
                  AND (SELECT true FROM token_holds h
                       WHERE h.user_id = p_user_ids[r.place] AND h.id = p_ids[r.place])) THEN
                RAISE unique_violation;
            END IF;
            INSERT INTO token_transactions (user_id, id, amount, type, description, balance_after,
                                            held_after, request_hash, created_at)
            SELECT p_user_ids[r.place], p_ids[r.place], p_amounts[r.place], p_types[r.place],
                   p_descriptions[r.place], r.balance, r.held,
                   nullif(p_request_hashes[r.place], 0), r.stamp
            FROM unnest(places, balances, helds, stamps) AS r (place, balance, held, stamp);
            EXIT;
        EXCEPTION WHEN unique_violation OR lock_not_available THEN
            IF looked OR NOT keyed THEN
                RAISE;
            END IF;
        END;

        looked := true;
        PERFORM set_config('lock_timeout', '500ms', true);
        SELECT coalesce(array_agg(o.n), '{}') INTO busy
        FROM unnest(p_ids, p_request_hashes) WITH ORDINALITY AS o (id, request_hash, n)
        WHERE o.request_hash <> 0
          AND NOT pg_try_advisory_xact_lock(hashtextextended(o.id::text, 0));
        -- Another statement, because it sees what was committed before the locks were had.
        SELECT coalesce(array_agg(o.user_id), '{}') INTO apart
        FROM (SELECT k.user_id, k.id, max(k.request_hash) AS request_hash, count(*) AS times
              FROM unnest(p_user_ids, p_ids, p_request_hashes) AS k (user_id, id, request_hash)
              GROUP BY k.user_id, k.id) o
        WHERE o.request_hash <> 0
          AND (o.times > 1
               OR (SELECT true FROM token_transactions e
                   WHERE e.user_id = o.user_id AND e.id = o.id)
               OR (SELECT true FROM token_holds h
                   WHERE h.user_id = o.user_id AND h.id = o.id));
    END LOOP;

    RETURN QUERY SELECT r.place, 'done', r.balance - r.held
                 FROM unnest(places, balances, helds) AS r (place, balance, held);
    RETURN QUERY SELECT r.place, 'in_progress', 0 FROM unnest(busy) AS r (place);
    IF cardinality(places) = cardinality(p_ids) THEN
        RETURN;
    END IF;

    -- Also users whom the update left out: it may have locked the row before it saw a reason to.
    SELECT o.user_id INTO highest FROM unnest(p_user_ids) AS o (user_id)
    WHERE o.user_id <> ALL (apart) ORDER BY 1 DESC LIMIT 1;
    FOR movement IN
        SELECT p_user_ids[o.n] AS user_id, o.n
        FROM (SELECT generate_subscripts(p_ids, 1)
              EXCEPT SELECT unnest(places || busy)) AS o (n)
        ORDER BY 1, 2
    LOOP
        IF movement.user_id IS DISTINCT FROM owner THEN
            owner := movement.user_id;
            IF highest IS NULL OR owner >= highest THEN
                PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE;
                highest := owner;
                ready := true;
            ELSE
                PERFORM 1 FROM user_tokens t WHERE t.user_id = owner FOR UPDATE SKIP LOCKED;
                ready := FOUND
                    OR NOT EXISTS (SELECT 1 FROM user_tokens t WHERE t.user_id = owner);
            END IF;
        END IF;
        place := movement.n;
        IF ready THEN
            SELECT p.outcome, p.balance INTO answer
            FROM ledger_post(owner, p_ids[place], p_amounts[place], p_types[place],
                             p_descriptions[place], nullif(p_request_hashes[place], 0)) p;
            outcome := answer.outcome;
            balance := coalesce(answer.balance, 0);
        ELSE
            outcome := 'alone';
            balance := 0;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
