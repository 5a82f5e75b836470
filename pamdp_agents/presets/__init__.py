"""What comes with the library for an environment: tuned settings, and trained agents."""
