"""`python -m server` is `mekd-server`."""

from server.cli import main

main()
