"""Postroom measured beside its peers: `make bench`. Figures go to standard output; nothing decides a test."""
