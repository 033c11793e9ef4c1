"""Waiting for what a conversation does: what ends a wait, shared by sensors, triggers and operators."""
