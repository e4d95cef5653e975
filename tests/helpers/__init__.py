"""What several tests need: servers on loopback, the recordings, and one call in all its colours and ways."""
