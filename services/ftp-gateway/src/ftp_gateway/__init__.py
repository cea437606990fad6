"""FTP and FTPS: files go up and down."""
