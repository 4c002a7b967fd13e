"""The tests that vtk ships for every model."""

from vtk_cli.testing.models import ModelTests
from vtk_example.c3d import MODEL


class TestC3D(ModelTests):
    spec = MODEL
