"""Database engine, migrations runner and object store of the core services."""
