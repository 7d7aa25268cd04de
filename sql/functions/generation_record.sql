-- Stores a finished generation in the history, counted against the same limit as generating one.
CREATE OR REPLACE FUNCTION generation_record(p_user_id uuid, p_generation_id uuid, p_image_url text,
                                             p_prompt_used text, p_trend text, p_quality text,
                                             p_ip_address text, p_by_address boolean,
                                             p_request_hash bigint)
RETURNS TABLE (outcome text, used int, usage_limit int, reset_at timestamp, retry_at timestamp,
               created_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
    usage record;
    stored timestamp;
BEGIN
    SELECT * INTO usage
    FROM usage_record(p_user_id, p_generation_id, 'generation', p_ip_address, p_by_address,
                      p_request_hash);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The time of both rows, so that it is known when the generation was removed meanwhile.
    SELECT l.created_at INTO stored FROM usage_logs l
    WHERE l.user_id = p_user_id AND l.id = p_generation_id;
    IF usage.outcome = 'done' THEN
        INSERT INTO generations (user_id, id, image_url, prompt_used, trend, quality, status,
                                 created_at, updated_at)
        VALUES (p_user_id, p_generation_id, p_image_url, p_prompt_used, p_trend, p_quality,
                'completed', stored, stored);
    END IF;
    RETURN QUERY SELECT usage.outcome, usage.used, usage.usage_limit, usage.reset_at,
                        usage.retry_at, stored;
END
$$;
