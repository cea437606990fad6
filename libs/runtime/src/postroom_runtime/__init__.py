"""What every service stands on: settings, logs, metrics, health, drain, TLS, TCP shell, gRPC and NATS wiring."""
