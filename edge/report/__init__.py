"""What a run looks like: curves and image grids in one self-contained HTML page."""
