"""What cloud and edge agree on: the wire, the errors, the data splits, the model families. Imports neither side."""
