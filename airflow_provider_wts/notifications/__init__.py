"""Notifiers: they tell people over WTS Chat what became of a DAG or a task."""
