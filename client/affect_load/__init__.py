"""Load on a running service, with a verdict: users and shapes for locust."""
