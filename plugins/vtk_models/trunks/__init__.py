"""Image networks without classifier that the architectures share; entry points of the group `vtk.trunks`."""
