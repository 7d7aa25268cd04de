"""Accounts in the database as tests look at them, and calls that several files make."""

CALLERS = 50  # at once

USAGE = ("SELECT outcome, used, usage_limit, reset_at"
         " FROM usage_record(%s, %s, %s, %s, false, NULL)")
GENERATION = ("SELECT outcome, used, usage_limit, created_at FROM"
              " generation_record(%s, %s, %s, %s, %s, %s, %s, false, NULL)")


def ledger(run, user):
    """The user's balance and entries, oldest first."""
    balance = run("SELECT balance FROM user_tokens WHERE user_id = %s", user)
    entries = run("SELECT amount, type, balance_after FROM token_transactions WHERE user_id = %s"
                  " ORDER BY created_at, id", user)
    return balance[0][0] if balance else None, entries
