"""Trainings that are kept: a folder, a log table, a picture, an evaluation."""
