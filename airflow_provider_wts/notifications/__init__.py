"""Notifiers that send people the outcome of a DAG or a task over WTS Chat."""
