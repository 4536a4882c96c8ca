"""What `pipeline.prepare` does to one plane on a processor, to a batch of planes at once, in Keras's own operations."""
