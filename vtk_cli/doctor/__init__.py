"""`vtk doctor`: every backend is loaded for real, in a process of its own, so that a crash is a line and no crash."""
