"""What people see of a result: the report, its plots, and the table in the terminal."""
