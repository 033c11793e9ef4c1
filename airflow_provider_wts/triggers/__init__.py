"""Triggers, by which deferred tasks wait in the triggerer."""
