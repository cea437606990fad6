"""Starts and guards Postgres, NATS, the object store and the services on one machine.

`postroom_embedded.up` runs all of Postroom, `postroom_embedded.stack` the three parts that it stands on. Each
part also starts alone: `running_postgres`, `running_nats`, `running_object_store`.
"""
