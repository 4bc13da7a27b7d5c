"""Scenes that are played on a testbed, for people who want to see it work."""
