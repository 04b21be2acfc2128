"""Building, publishing and reading the warehouse. The only room with DuckDB and dbt."""
