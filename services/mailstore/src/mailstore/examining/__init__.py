"""Looking whether what the mail store's rows say is true."""
