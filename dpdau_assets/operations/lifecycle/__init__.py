"""What ends: salt epochs, retention, and copies of secrets."""
