"""The offline evaluation job: a test set through the running service, scored with the field's metrics."""
