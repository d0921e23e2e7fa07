"""The offline evaluation job: it scores a test set through a running gateway, and compares runs."""
