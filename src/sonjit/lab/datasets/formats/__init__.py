"""General formats of data sets: COCO, folders, tables, Parquet and WebDataset shards."""
