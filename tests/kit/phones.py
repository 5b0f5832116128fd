"""Phones for tests of whole rounds: real SDK clients in threads."""

import threading
from dataclasses import dataclass, field

from hushfold.conditions import Conditions, SimulatedConditions
from hushfold.device import Device
from hushfold.keys import KeyFile
from hushfold.participation import Outcome, OutcomeKind, Participation
from hushfold_protocol.plan import DevicePolicy

POLICY = DevicePolicy(min_floor=3, max_round_epsilon=1e6, min_gamma=0.0, min_join_delay=0.0, min_examples=3)
PAUSE = threading.Event()  # never set


class Gone(Exception):
    """The phone is switched off."""


@dataclass
class Phone:
    """One phone. `vanish` names the step at which it disappears, for the round with that number of its own."""

    device: Device
    participation: Participation
    vanish: dict[int, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    entered: int = 0  # rounds in which it began to train
    gone: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls, folder, service, messages=(), population="keyboard-en", model="next_word", on_step=lambda phone, step: None
    ):
        folder.mkdir(parents=True, exist_ok=True)
        device = Device(
            folder,
            KeyFile(folder / "key"),
            conditions=SimulatedConditions(Conditions(True, True, True)),
            dwell=0,
            policy=POLICY,
            epsilon_limit=1e9,
        )
        for message in messages:
            device.keyboard.learn(message)
        phone = cls(device, None)

        def progress(step):
            if step == "train":
                phone.entered += 1
            on_step(phone, step)
            if phone.vanish.get(phone.entered) == step:
                phone.gone.append(step)
                raise Gone

        phone.participation = Participation(device, service, population, model=model, progress=progress)
        return phone

    def live(self, stop):
        """Checks in again and again until `stop` is set."""
        while not stop.is_set():
            try:
                outcome = self.participation.run_once()
            except Gone:
                outcome = Outcome(OutcomeKind.LEFT, "switched off", 1.0)
            if outcome.round_number is not None or outcome.reason == "switched off":
                self.outcomes.append(outcome)
            stop.wait(0.3)


def fleet_lives(phones, stop):
    """Starts one thread a phone; gives the function that waits for them."""
    threads = [threading.Thread(target=phone.live, args=(stop,)) for phone in phones]
    for thread in threads:
        thread.start()

    def join():
        stop.set()
        for thread in threads:
            thread.join(120)

    return join
