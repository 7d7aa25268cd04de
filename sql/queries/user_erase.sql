-- Erases the person, keeps the books. $1 user_id uuid.
SELECT erased FROM user_erase($1)
