"""How large a plane can be that is to be denoised, and how much room it takes as bytes."""

LONGEST = 512  # px: a larger plane is shrunk to this first; the time grows with the area, a network sees 224
RGB = 3
HEAD = 20  # bytes before the pixels: height, width, channels, rows and columns of the box, an int32 each
ROOM = HEAD + LONGEST * LONGEST * RGB  # bytes of the largest packed plane
