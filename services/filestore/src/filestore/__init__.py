"""Files: the tree, uploads and versions."""
