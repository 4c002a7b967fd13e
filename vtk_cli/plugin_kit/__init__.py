"""`vtk plugins`: trying installed plugins out, and starting a new one."""
