"""Frechet distance between two sets of embeddings."""
