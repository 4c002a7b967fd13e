"""Catalog -> decoder -> flow -> store: workers that own whole shards, one decoding pass for frames and flow."""
