"""Where an Airflow connection becomes a client of the WTS Chat API."""
