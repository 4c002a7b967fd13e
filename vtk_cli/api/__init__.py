"""The whole public surface for plugin authors. Imports no torch, no numpy and nothing else that is heavy."""
