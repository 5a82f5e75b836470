"""Environments with parameterised action spaces."""
