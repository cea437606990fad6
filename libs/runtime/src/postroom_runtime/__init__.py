"""What every service stands on: settings, logs, metrics, health, drain, TLS, TCP, gRPC and NATS wiring."""
