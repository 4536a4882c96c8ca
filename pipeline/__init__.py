"""Pure functions and generators from bytes to a result: read, prepare, find, draw, report (start at `pipeline.run`)."""
