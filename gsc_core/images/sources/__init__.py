"""Where image sets come from beside folders and ZIPs: manifests, buckets, tar shards, Parquet."""
