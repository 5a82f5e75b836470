"""Compiled updates on flat vectors; knows no algorithm and no environment."""
