"""`python -m edge` is `mekd-edge`."""

from edge.cli import main

main()
