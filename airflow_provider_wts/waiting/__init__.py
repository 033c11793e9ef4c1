"""Waits for events in a conversation, shared by sensors, triggers and operators."""
