"""What the flows with a person in them give to the host."""

from __future__ import annotations

from typing import NamedTuple, Optional


class DeviceAuthorization(NamedTuple):
    """What to show to a person who is to authorize this client on another device (RFC 8628 section 3.2)."""

    #: What they type in.
    user_code: str
    #: Where they type it in.
    verification_uri: str
    #: The same with the code in it, where the server gives that. Show the code all the same: they compare it.
    verification_uri_complete: Optional[str]
    #: The text for a QR code: the address with the code in it if there is one.
    qr_text: str
    #: For how many seconds they may take.
    expires_in: float
    #: The seconds between two polls. ``poll`` heeds it by itself.
    interval: float
    #: What ``poll`` goes on with: opaque, and a secret. Another process may go on with it.
    session: str

    def __repr__(self) -> str:
        return f"DeviceAuthorization(user_code={self.user_code!r}, verification_uri={self.verification_uri!r}, expires_in={self.expires_in!r})"


class BackchannelAuthentication(NamedTuple):
    """A person is being asked on a device of their own (CIBA section 7.3)."""

    #: For how many seconds they may take.
    expires_in: float
    #: The seconds between two polls. ``poll`` heeds it by itself.
    interval: float
    #: What ``poll`` goes on with: opaque, and a secret. Another process may go on with it.
    session: str

    def __repr__(self) -> str:
        return f"BackchannelAuthentication(expires_in={self.expires_in!r})"
