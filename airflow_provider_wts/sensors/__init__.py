"""Sensors that wait for sessions, replies and message statuses."""
