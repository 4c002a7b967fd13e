"""Decoders, one per file, and what they share: `safety` (which files are opened), `structure` (is a file whole) and
`geometry` (the size and the way up of a picture).
"""
