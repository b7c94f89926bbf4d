"""Formats that hold any data set: COCO, folders and tables, Parquet, WebDataset shards."""
