-- How much there is to verify.
SELECT (SELECT count(*) FROM user_tokens) AS accounts,
       (SELECT count(*) FROM token_transactions) AS entries
