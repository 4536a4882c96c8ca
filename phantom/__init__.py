"""Deterministic phantoms of head MR: anatomy from shapes, a simulated scanner, files in clinical formats."""
