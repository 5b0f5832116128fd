"""Rounds of an application in this process, and devices that play them honestly."""

from __future__ import annotations

from asgi_client import Answer, AsgiClient, Request
from cohort import Cohort, make_vectors
from round_task import open_round

from hushfold_protocol import messages
from hushfold_protocol.plan import Plan
from hushfold_protocol.signing import device_id, seal
from hushfold_protocol.wire import Message, decode_any
from hushfold_server.web import MEDIA_TYPE

MESSAGE_HEADERS = ((b"content-type", MEDIA_TYPE.encode()),)
FROM_SERVER = (
    messages.Roster, messages.Delivery, messages.Survivors, messages.Consents, messages.Wait, messages.Closed,
)  # fmt: skip


def post(target: str, message: Message | bytes) -> Request:
    body = message if isinstance(message, bytes) else message.encode()
    return Request("POST", target, body, MESSAGE_HEADERS)


class PlayedRound:
    """One open round, of a task of its own. Its devices are named by number, and are the same in every round."""

    def __init__(self, client: AsgiClient, database, plan: Plan, authority, devices: int, now: float, seed=1) -> None:
        self._client, self.plan = client, plan
        self.address = f"/v1/rounds/{plan.round_id.hex()}"
        self.cohort = Cohort(plan, make_vectors(devices, plan, seed), seed, authority)
        self.keys = [device.state.identity.key for device in self.cohort.devices]
        self.ids = [device_id(device.join.certificate.public_key).hex() for device in self.cohort.devices]
        open_round(database, plan, now)

    def join(self, number: int) -> Request:
        """What the device joins with."""
        return post(f"{self.address}/join", self.cohort.devices[number].join)

    def messages_of(self, number: int) -> str:
        """Where the device sends its messages to."""
        return f"{self.address}/messages?device={self.ids[number]}"

    def sealed(self, number: int, message: Message, key: int | None = None) -> Request:
        """The message as the device sends it, with its own signature or with that of device `key`."""
        return post(self.messages_of(number), seal(self.keys[number if key is None else key], message))

    def told(self, number: int) -> Message:
        """What the server has for the device now."""
        answer = self._client.send(Request("GET", f"{self.address}/next?device={self.ids[number]}"))
        assert answer.status == 200, answer
        return decode_any(answer.body, *FROM_SERVER)

    def answer(self, number: int) -> Request | None:
        """The device's answer to what the server has for it; None if that asks for nothing. The same every time."""
        message = self.told(number)
        if isinstance(message, messages.Wait | messages.Closed):
            return None
        return self.sealed(number, self.cohort.devices[number].receive(message))

    def send(self, request: Request) -> Answer:
        answer = self._client.send(request)
        assert answer.status == 200, answer
        return answer
