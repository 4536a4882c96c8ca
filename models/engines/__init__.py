"""What runs a network: one seam, and an adapter each for OpenVINO, TensorFlow and `timed` (queue benchmarks)."""
