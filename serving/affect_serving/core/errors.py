"""The texts of errors that both APIs answer with the same words."""

from typing import Final

INTERNAL_DETAIL: Final = "the gateway failed in a way that it did not foresee; the log has more under this request id"
"""The detail of `Internal`; nothing of an unforeseen exception leaves the process."""
