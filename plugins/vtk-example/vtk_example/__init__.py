"""An example of a plugin for vtk."""
