"""Stores: encoded frames and flow of many videos in LMDB shards, one record per video."""
