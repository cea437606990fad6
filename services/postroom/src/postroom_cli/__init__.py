"""The command `postroom`: starts everything on one machine and administers it."""
