"""Transcript runner, fakes, certificates, local DNS and sinks, crash points for the tests."""
