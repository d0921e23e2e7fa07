"""What a client meets beside the contract's own errors."""


class ServiceUnreachable(Exception):
    """No gateway answers where one was expected; the text says where and what to check."""
