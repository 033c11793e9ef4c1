"""Links from a task in Airflow to WTS Chat."""
