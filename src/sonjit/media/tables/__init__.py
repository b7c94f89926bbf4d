"""Write and read tables as JSON, JSON Lines, CSV and Parquet."""
