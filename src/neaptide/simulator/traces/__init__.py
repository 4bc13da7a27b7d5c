"""Traces in: one loader per data set, each taking a directory; wrong rows are reported, never silently dropped."""
