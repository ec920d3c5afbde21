"""One file per command of `mekd-edge`; `edge/cli.py` puts them together.

Help has to come at once, so torch and httpx are imported inside the functions that need them.
"""
