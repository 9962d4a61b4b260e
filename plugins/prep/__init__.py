"""Notebook steps: each `apply` takes a notebook and returns a changed copy with its findings."""
