"""`python -m neurobatch`."""

from neurobatch.cli import main

main()
