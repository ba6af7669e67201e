"""Encoders of shapes: Uni3D, the embedded small one, shape distributions, means over views."""
