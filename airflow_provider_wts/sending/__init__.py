"""Sending exactly once: how it is known afterwards whether a send happened."""
