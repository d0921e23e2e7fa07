"""The error that clients raise in addition to the contract's own: no gateway can be reached."""


class ServiceUnreachable(Exception):
    """No gateway answers at the given address; the message says where, and what to check.

    Args:
        text: one sentence.
        never_connected: whether no connection was established, so that the request was certainly not sent.
    """

    def __init__(self, text: str, *, never_connected: bool = False) -> None:
        super().__init__(text)
        self.never_connected = never_connected
