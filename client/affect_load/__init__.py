"""Load tests of a running gateway with locust: users, load shapes, and a verdict."""
