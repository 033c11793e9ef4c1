"""Triggers: the waiting of deferred tasks, in the triggerer."""
