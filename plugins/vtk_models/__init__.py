"""First-party architectures, one per file; they use only `vtk_cli.api`, as any plugin does."""
