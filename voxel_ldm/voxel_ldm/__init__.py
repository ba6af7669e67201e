"""Voxel grids: autoencoder, latent diffusion, score distillation, evaluation."""
