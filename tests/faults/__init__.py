"""What goes wrong around the gateway, brought about; and that afterwards all is as it was before."""
