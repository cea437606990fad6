"""REST: sessions, mail, files and administration over HTTP."""
