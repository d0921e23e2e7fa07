"""What a client meets beside the contract's own errors."""


class ServiceUnreachable(Exception):
    """No gateway answers where one was expected; the text says where and what to check.

    Args:
        text: one sentence.
        never_connected: whether no connection came about, so that nothing was asked yet.
    """

    def __init__(self, text: str, *, never_connected: bool = False) -> None:
        super().__init__(text)
        self.never_connected = never_connected
