"""The WTS Chat API, free of Airflow: usable from any Python."""
