"""Turns an Airflow connection into a client of the WTS Chat API."""
