"""`vtk index`: a dataset of the user's own videos, from folders, list files or frame folders."""
