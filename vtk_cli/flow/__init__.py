"""Optical-flow methods, one per file, and how their results are stored as pictures."""
