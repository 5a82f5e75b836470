"""Agents for parameterised action spaces."""
