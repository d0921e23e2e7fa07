"""The models directory run inside the gateway by OpenVINO."""
