"""Who: tenants, domains, accounts, aliases, credentials and capabilities."""
