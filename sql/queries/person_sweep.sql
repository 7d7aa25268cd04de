-- Removes what is counted by person and by address and counts no more. $1 rows at most int4.
SELECT person_sweep($1) AS swept
