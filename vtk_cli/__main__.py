"""`python -m vtk_cli` is `vtk`."""

from vtk_cli.cli import main

main()
