"""Shell commands that check a setup."""
