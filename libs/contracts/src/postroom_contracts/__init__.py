"""What services say to each other: generated gRPC stubs, event envelopes, capabilities."""
