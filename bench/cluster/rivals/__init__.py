"""Clusters to measure: each module describes one in CLUSTERS; those in Python are its server, too."""
