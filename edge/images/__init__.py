"""The images of this device: datasets by name, folders and files of one's own."""
