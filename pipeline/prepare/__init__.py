"""Prepare a plane for a network (denoise, stretch contrast, fit); the same in training and serving."""
