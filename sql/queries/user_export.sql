-- The account row for the export. $1 user_id uuid.
SELECT u.id, u.clerk_id::text AS clerk_id, u.device_id::text AS device_id, u.email::text AS email,
       u.telegram_id::text AS telegram_id, u.first_name::text AS first_name,
       u.last_name::text AS last_name, u.username::text AS username,
       u.photo_url::text AS photo_url, u.language_code::text AS language_code,
       u.vk_id::text AS vk_id, u.yandex_id::text AS yandex_id, u.created_at, u.updated_at,
       t.balance, t.held, t.last_bonus_date,
       u.welcome, u.used_before,
       coalesce((SELECT s.value FROM app_settings s WHERE s.name = 'erased_identity_days'), 365)
           AS digest_days
FROM users u
JOIN user_tokens t ON t.user_id = u.id
WHERE u.id = $1
