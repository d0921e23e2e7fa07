"""The embedded backend: OpenVINO runs the models directory inside the gateway's process."""
