"""Sending exactly once.

Airflow runs a task again after a crash, a timeout, a lost heartbeat or a person's clear. A customer must not get the
message again for that, and must not miss it either. So every send has a key that stays the same over all tries
(:mod:`~airflow_provider_wts.sending.key`), a ledger says what is known of it
(:mod:`~airflow_provider_wts.sending.ledger`), and if the ledger does not know, WTS Chat is asked what it did
(:mod:`~airflow_provider_wts.sending.reconcile`). :mod:`~airflow_provider_wts.sending.once` puts them together.
"""
