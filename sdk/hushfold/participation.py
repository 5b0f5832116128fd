"""Taking part in federated rounds: check in, train first, then aggregate.

    participation = Participation(device, service, population="keyboard-en")
    outcome = participation.run_once()      # when the app's scheduler gives the SDK some time

One call is one check-in and, if the server invites and the device agrees, one whole round. Everything that could speak
against it is decided here, on the device: conditions, too few messages, a plan below the device's policy, a spent
budget. Nothing but the masked update says anything about the messages, and its price is charged before it leaves.
A call that was cut off loses at most the aggregation: training goes on from its checkpoint while the round is open.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hushfold_protocol.encoding import encode
from hushfold_protocol.errors import EncodingError, ProtocolError
from hushfold_protocol.messages import (
    Certificate,
    CheckIn,
    Closed,
    ComeBack,
    Consents,
    Delivery,
    Ending,
    Invitation,
    Masked,
    Roster,
    Survivors,
    Unmask,
    Wait,
)
from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import Plan
from hushfold_protocol.secagg.device import DeviceSession, Identity
from hushfold_protocol.signing import (
    device_id,
    open_invitation,
    request_enrolment,
    seal,
    verify_certificate,
)
from hushfold_protocol.wire import Message

from .device import MODEL, Device
from .errors import (
    ConditionsLost,
    MessagesDeleted,
    NotEligible,
    PrivacyError,
    ReleaseRefused,
    ReleaseUnavailable,
    RemoteProtocolError,
    RemoteRefused,
    TrainingDiverged,
    Unreachable,
)
from .keys import device_key
from .ledger import Contribution, ContributionState
from .model import Vector
from .releases import Installation
from .service import Client, Service
from .training import TrainingTask
from .updates import ReleaseChannel
from .version import VERSION

RETRIES = 20  # of one request to a server that does not answer: it may be restarting
RETRY_AFTER = 1.0  # seconds
PAUSE = 60.0  # seconds until the next check-in after a round, or where the server did not say
LONG_PAUSE = 3600.0  # seconds; where the next check-in would most likely end like this one
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 86_400.0  # seconds; between them the server chooses when there is no round
PATIENCE = 3600.0  # seconds from the end of joining to the end of the round
LONGEST_WAIT = 60.0  # seconds between two questions of a session, whatever the server says
RENEWAL = 31 * 86_400.0  # seconds before its end that a certificate is renewed: more than a round may take
_CERTIFICATE = "certificate"
_REFUSALS = (PrivacyError, ProtocolError, ReleaseRefused, RemoteProtocolError)


class Step(StrEnum):
    """Where a participation is."""

    CHECK_IN = "check-in"
    TRAIN = "train"
    JOIN = "join"
    SHARE = "share"
    UPLOAD = "upload"
    AGREE = "agree"
    UNMASK = "unmask"


_STEPS: dict[type[Message], Step] = {
    Roster: Step.SHARE,
    Delivery: Step.UPLOAD,
    Survivors: Step.AGREE,
    Consents: Step.UNMASK,
}


class OutcomeKind(StrEnum):
    """How a participation ended."""

    CONTRIBUTED = "contributed"  # the update is in a sum
    COME_BACK = "come-back"  # nothing to do now: not invited, conditions, no connection
    NOT_ELIGIBLE = "not-eligible"  # too little to learn from; the server was not asked
    REFUSED = "refused"  # the device said no, for its own protection
    LEFT = "left"  # the round ended without this device's update, or without a sum


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call of `run_once`."""

    kind: OutcomeKind
    reason: str = ""  # for a person
    after: float = 0.0  # seconds until it makes sense to check in again
    round_number: int | None = None
    bytes_sent: int = 0  # bodies of messages
    bytes_received: int = 0


class Participation:
    """One device's part in one population's tasks. For one thread.

    Args:
        device, service: who takes part, and where.
        population: of devices, which learn together.
        model: that the population learns: the keyboard's, or `"voice"`.
        progress: called before each step; if it raises, the device leaves the round there.
    """

    def __init__(
        self,
        device: Device,
        service: Service,
        population: str,
        *,
        model: str = MODEL,
        progress: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._device, self._service, self._population = device, service, population
        self._model = device.model(model)
        self._progress = progress
        self._key = device_key(device.store)
        self._id = device_id(self._key.public_key().public_bytes_raw())
        self._channel = ReleaseChannel(
            device.folder / "releases" / model,
            service.root,
            service.metadata_url,
            service.targets_url,
            Installation(self._model.files.manifest.name, self._model.manifest_sha256, VERSION, self._id),
        )
        self._joined: set[bytes] = set()  # ids of rounds; no device joins one twice

    # -------------------------------------------------------------- what the app calls

    def update_model(self) -> str | None:
        """Adopt the newest release that is meant for this device; its version, or None if there is none newer.

        Raises UpdateError if the channel cannot be reached or lies; the active model stays.
        """
        release = self._channel.refresh()
        if release is None or not self._model.active.wants(release):
            return None
        if release.sha256 == self._model.sha256():
            return None  # what the app shipped, or went back to, under a newer number
        self._model.active.activate(release, self._channel.download(release))
        self._model.reload()
        return release.version

    def run_once(self) -> Outcome:
        """Check in and, if invited, take part. Waits where the protocol waits.

        Whatever is the server's doing, or the device's own decision, is an outcome. Raises only what `progress`
        raises, and StoreError, KeyUnavailable or ModelError for trouble on this device.
        """
        client = Client(self._service.service_url)
        number = None
        try:
            if waiting := self._device.gate.waiting_for():
                reasons = ", ".join(reason.text for reason in waiting)
                return Outcome(OutcomeKind.COME_BACK, reasons, max(self._device.gate.dwell, PAUSE))
            needed = self._device.policy.min_examples
            if (few := len(self._model.lessons.select(None, needed))) < needed:
                reason = f"{few} {self._model.lessons.noun} to learn from, {needed} needed"
                return Outcome(OutcomeKind.NOT_ELIGIBLE, reason, LONG_PAUSE)
            self._progress(Step.CHECK_IN)
            invited = self._check_in(client)
            if isinstance(invited, ComeBack):
                after = min(max(invited.after_ms / 1000, SHORTEST_PAUSE), LONGEST_PAUSE)
                return Outcome(OutcomeKind.COME_BACK, invited.reason, after)
            plan = self._agree_to(invited)
            number = plan.round_number
            kind, reason = self._take_part(client, plan)
        except (ConditionsLost, Unreachable, ReleaseUnavailable) as error:
            kind, reason = OutcomeKind.COME_BACK, str(error)
        except (RemoteRefused, MessagesDeleted) as error:
            kind, reason = OutcomeKind.LEFT, str(error)
        except _REFUSALS as error:
            kind, reason = OutcomeKind.REFUSED, str(error)
        finally:
            client.close()
        after = LONG_PAUSE if kind is OutcomeKind.REFUSED else PAUSE
        return Outcome(kind, reason, after, number, client.bytes_sent, client.bytes_received)

    # -------------------------------------------------------------- before the round

    def _check_in(self, client: Client) -> Invitation | ComeBack:
        message = CheckIn(
            population=self._population,
            certificate=self._certificate(),
            time=int(self._device.clock.now()),
        )
        answer = client.post("/v1/check-in", seal(self._key, message), Invitation, ComeBack)
        assert isinstance(answer, Invitation | ComeBack)  # noqa: S101  # `post` gives nothing else
        return answer

    def _certificate(self) -> Certificate:
        """This device's certificate: the stored one, or a new one from the authority when it is about to end."""
        now, authority = self._device.clock.now(), self._service.authority_key
        stored = self._device.store.load_setting(_CERTIFICATE)
        if stored is not None:
            try:
                certificate = Certificate.decode(stored)
                verify_certificate(certificate, authority, now + RENEWAL)
                return certificate
            except ProtocolError:
                pass  # another authority, or nearly over
        client = Client(self._service.authority_url)
        try:
            issued = client.post("/v1/enrol", request_enrolment(self._key), Certificate)
        finally:
            client.close()
        assert isinstance(issued, Certificate)  # noqa: S101
        if device_id(issued.public_key) != self._id:
            raise RemoteProtocolError("the authority issued a certificate for another device")
        verify_certificate(issued, authority, now)
        self._device.store.save_setting(_CERTIFICATE, issued.encode())
        return issued

    def _agree_to(self, invitation: Invitation) -> Plan:
        """The plan, if it is genuine and good enough for this device. Raises PrivacyError, ProtocolError or others."""
        plan = open_invitation(invitation, self._trusted_plan_key())
        if plan.population != self._population:
            raise RemoteProtocolError(f"invited by population {plan.population!r}, not {self._population!r}")
        if "/" in plan.task:  # names with one are the SDK's own: what is kept under them goes with something else
            raise RemoteProtocolError(f"the plan is of task {plan.task!r}, and a name has no slash")
        self._require_time(plan)
        if plan.round_id in self._joined:
            raise RemoteRefused("this device joined the round before", "Check in again when it is over")
        curve = self._device.policy.check(plan)
        self._device.budget.require(plan.population, curve)
        manifest = self._model.files.manifest
        part = manifest.parts.get(plan.model.part)
        if plan.model.name != manifest.name or part is None or part.size != plan.update.dimension:
            raise RemoteProtocolError(
                f"the plan trains {plan.update.dimension} values of part {plan.model.part!r} of model "
                f"{plan.model.name!r}, which this device does not have"
            )
        batch, time = plan.training.batch, plan.training.time
        if (batch, time) != (manifest.batch, manifest.time):
            raise RemoteProtocolError(
                f"the plan trains batches of {batch}x{time}, the graph of model {manifest.name!r} takes "
                f"{manifest.batch}x{manifest.time}"
            )
        return plan

    def _trusted_plan_key(self) -> bytes:
        """The key that signs plans, from the release channel: rooted in what the app shipped, and replaceable."""
        self._channel.refresh()  # every time: it may have been replaced
        document = self._channel.fetch_json("service.json")
        try:
            return bytes.fromhex(document["plan_key"])
        except (KeyError, TypeError, ValueError):
            raise RemoteProtocolError("service.json names no plan key") from None

    def _require_time(self, plan: Plan) -> None:
        if plan.expires <= self._device.clock.now():
            raise RemoteRefused("the plan has expired", "Check in again")

    # -------------------------------------------------------------- the round

    def _take_part(self, client: Client, plan: Plan) -> tuple[OutcomeKind, str]:
        start = self._start(client, plan)
        self._progress(Step.TRAIN)
        task = TrainingTask.of(plan)
        session = self._model.training_session(task, start)
        update: Vector | None = None
        # Whether a device joins must not depend on what was typed on it, or a server could choose weights that diverge
        # on one word: a device without an update goes on, with noise alone.
        with suppress(NotEligible, TrainingDiverged):
            update = session.run()
        self._wait_for_a_random_time(plan)
        self._require_time(plan)
        self._device.gate.require()  # the trained update is kept, and joins later

        def encoded() -> EncodedVector:
            if update is not None:
                session.require_kept()
                # As above: an update that is finite but too large to be rotated, or with no rounding short enough.
                with suppress(EncodingError):
                    return encode(update, plan.update.encoding())
            return encode(np.zeros(plan.update.dimension, np.float32), plan.update.encoding())

        try:
            return self._aggregate(client, plan, encoded)
        finally:
            # Used once, whatever came of it: the same update under a second session's noise would cost twice.
            session.clear()

    def _start(self, client: Client, plan: Plan) -> Vector:
        """The vector that the plan starts from: the released weights, with the round's values in the trained part."""
        if self._model.sha256() != plan.model.weights_sha256.hex():
            self.update_model()
            if self._model.sha256() != plan.model.weights_sha256.hex():
                raise RemoteRefused(
                    f"the round trains version {plan.model.version}, which is not in use on this device",
                    "It takes part once it has that release",
                )
        part = self._model.files.manifest.parts[plan.model.part]
        content = client.get_bytes(f"/v1/rounds/{plan.round_id.hex()}/part", 4 * part.size)
        if hashlib.sha256(content).digest() != plan.model.part_sha256:
            raise RemoteProtocolError("the round's weights are not those that the plan names")
        if len(content) != 4 * part.size:
            raise RemoteProtocolError(f"the round's weights have {len(content)} bytes, the part has {4 * part.size}")
        values = np.frombuffer(content, "<f4")
        if not np.isfinite(values).all():
            raise RemoteProtocolError("the round's weights are not all finite")
        start = self._model.weights().copy()
        start[part.start : part.stop] = values
        return start

    def _wait_for_a_random_time(self, plan: Plan) -> None:
        """So that the time at which a device has finished says nothing about it."""
        fraction = int.from_bytes(os.urandom(4), "big") / 2**32
        self._device.clock.wait(fraction * plan.join_delay_ms / 1000)

    def _aggregate(self, client: Client, plan: Plan, encoded: Callable[[], EncodedVector]) -> tuple[OutcomeKind, str]:
        clock, policy = self._device.clock, self._device.policy
        session = DeviceSession(
            plan,
            Identity(self._key, self._certificate(), self._service.authority_key),
            encoded,
            min_cohort=policy.min_floor,
            clock=clock.now,
            random_bytes=os.urandom,
        )
        self._progress(Step.JOIN)
        self._joined.add(plan.round_id)
        address = f"/v1/rounds/{plan.round_id.hex()}"
        self._patiently(lambda: client.post(f"{address}/join", session.join, Wait))
        cohort, uploaded = 0, False
        patience_ends = clock.monotonic() + plan.expires - clock.now() + PATIENCE
        while True:
            # Up to the upload nothing is sent, nor waited for, without the device's conditions. What follows is small,
            # and a phone that left now would cost the others more than it saves.
            if not uploaded:
                self._device.gate.require()
            if clock.monotonic() > patience_ends:
                return OutcomeKind.LEFT, "the server does not end the round"
            message = self._patiently(
                lambda: client.get(f"{address}/next?device={self._id.hex()}", Wait, Closed, *_STEPS)
            )
            match message:
                case Wait():
                    clock.wait(min(message.after_ms / 1000, LONGEST_WAIT))
                    continue
                case Closed(ending=Ending.SUMMED) if uploaded:
                    return OutcomeKind.CONTRIBUTED, ""
                case Closed():
                    return OutcomeKind.LEFT, message.reason
                case Roster():
                    cohort = len(message.joins)
            self._progress(_STEPS[type(message)])
            answer = session.receive(message)
            if isinstance(answer, Masked):
                # From here on the sum may be opened: the price is paid before a byte leaves.
                self._device.budget.charge(Contribution.to_plan(plan, answer.vector, cohort=cohort, at=clock.now()))
            sealed = seal(self._key, answer)
            self._patiently(lambda: client.post(f"{address}/messages?device={self._id.hex()}", sealed, Wait))  # noqa: B023
            if isinstance(answer, Masked):
                uploaded = True
                self._device.budget.advance(plan.round_id, ContributionState.SENT)
            elif isinstance(answer, Unmask):
                self._device.budget.advance(plan.round_id, ContributionState.MAYBE_OPENED)

    def _patiently(self, request: Callable[[], Message]) -> Message:
        """The answer to a request that may be sent again byte for byte, from a server that may be restarting."""
        for _ in range(RETRIES):
            try:
                return request()
            except Unreachable:
                self._device.clock.wait(RETRY_AFTER)
        return request()
