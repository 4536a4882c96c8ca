"""What the images need beside the commands."""
