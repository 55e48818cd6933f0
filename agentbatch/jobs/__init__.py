"""Runs as jobs of a Ray cluster, begun and looked after from a machine that has no Ray itself."""
