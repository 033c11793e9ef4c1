"""Commands for the shell: what works in a set-up, and what does not."""
