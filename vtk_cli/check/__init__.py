"""`vtk check`: every clip, every split and every store of a dataset looked over."""
