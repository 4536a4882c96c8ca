"""How neurobatch is run: the whole stack on one machine, images and compose."""
