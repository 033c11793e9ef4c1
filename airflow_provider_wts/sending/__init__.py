"""Sending exactly once.

Airflow runs a task again after a crash, a timeout, a lost heartbeat or a clear. The customer must neither get the
message twice nor miss it. So every send has a key that is the same in all tries
(:mod:`~airflow_provider_wts.sending.key`), and a ledger records what is known about it
(:mod:`~airflow_provider_wts.sending.ledger`). If the ledger does not have the outcome, WTS Chat is asked
(:mod:`~airflow_provider_wts.sending.reconcile`). :mod:`~airflow_provider_wts.sending.once` combines them.
"""
