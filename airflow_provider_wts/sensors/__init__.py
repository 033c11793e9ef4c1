"""Sensors: they wait for what customers and the platform do."""
