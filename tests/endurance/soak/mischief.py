"""What is done to targets and to the service while all are at work."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from endurance.soak.actors import RUBY, VAULT
from endurance.soak.judging import Wrong
from endurance.soak.stage import BROKEN, OPERATOR, RULES
from endurance.soak.users import User, noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from endurance.soak.actors import Actor


ACTORS = 12
_SHAKY_PAGES = range(8)
_PAUSE_S = 0.02


class Director(User):
    """Starts targets, lets them execute, hang and die, and registers them."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._zombies: list[Actor] = []
        self._deeds: dict[str, tuple[int, Callable[[Actor], None]]] = {
            "a page is closed": (8, lambda actor: self._spoil(actor, actor.close)),
            "a page is unmapped": (8, lambda actor: self._spoil(actor, actor.drop)),
            "pages are back": (10, lambda actor: actor.restore_all()),
            "execve": (6, lambda actor: actor.become(self.random.choice((RUBY, VAULT)))),
            "pages hang": (3, self._hang),
            "pages come": (5, self._resolve),
            "SIGSTOP": (2, lambda actor: actor.stop()),
            "SIGCONT": (2, lambda actor: actor.go_on()),
            "a target is killed": (3, self._kill),
        }

    def run(self) -> None:
        super().run()
        self.stage.curtain.wait()
        for actor in [*self.stage.cast.living]:
            self._kill(actor)
        for actor in self._zombies:
            actor.reap()

    def act(self) -> None:
        cast = self.stage.cast
        if len(cast.living) < ACTORS:
            self._start()
            return
        names = [*self._deeds]
        weights = [weight for weight, _ in self._deeds.values()]
        name = self.random.choices(names, weights)[0]
        actor = cast.spotlight = self.random.choice(cast.living)
        if name not in ("SIGCONT", "a target is killed"):
            actor.go_on()  # a target that is stopped does nothing that it is told
        self._deeds[name][1](actor)
        self.fault(name)
        if self._zombies and self.random.random() < 0.2:
            self._zombies.pop(0).reap()
            self.fault("a target is reaped")
        self.stage.over.wait(_PAUSE_S)

    def _start(self) -> None:
        actor = self.stage.cast.start(self.random.choice((RUBY, VAULT)))
        heard = self.line.ask("POST", "/v1/targets", {"pid": actor.pid})
        self.count("registration")
        with noted(heard, actor.pid):
            if heard.status not in (200, 201):
                raise Wrong("a process that lives cannot be registered")
        actor.is_registered(heard.json["id"])
        self.stage.cast.living.append(actor)
        self.stage.cast.by_id[actor.id] = actor
        self.fault("a target is started")

    def _spoil(self, actor: Actor, how: Callable[[int], None]) -> None:
        """Do that to a page that is there."""
        whole = [page for page in _SHAKY_PAGES if page not in actor.history.now.others]
        if whole:
            how(self.random.choice(whole))

    def _hang(self, actor: Actor) -> None:
        if not actor.history.now.hangs:
            actor.hang()

    def _resolve(self, actor: Actor) -> None:
        if actor.history.now.hangs:
            actor.resolve()

    def _kill(self, actor: Actor) -> None:
        self.stage.cast.living.remove(actor)
        actor.die()
        self._zombies.append(actor)


class Prompter(User):
    """Has policies read again, with mistakes at times."""

    def act(self) -> None:
        if self.random.random() < 0.3:
            self.stage.reload_broken(self.random.choice(BROKEN))
            self.fault("a policy with a mistake")
        else:
            self.stage.reload(self.random.choice(RULES))
            self.fault("a policy is read again")
        self.stage.over.wait(self.random.uniform(0.5, 3))


class Rude(User):
    """Opens connections and does with them what nobody should."""

    def act(self) -> None:
        how = self.random.choice((self._half_a_request, self._leave, self._noise, self._stranger))
        how()
        self.fault(how.__name__.strip("_").replace("_", " "))
        self.stage.over.wait(self.random.uniform(0, 0.2))

    def _half_a_request(self) -> None:
        with self.stage.service.connect() as sock:
            sock.sendall(b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Le")

    def _leave(self) -> None:
        """Ask for a long range, and go before it has come."""
        actor = self.choose()
        if actor is None:
            return
        first = 0x5EC000000000
        with self.stage.service.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = (
                f"GET /v1/targets/{actor.id}/memory HTTP/1.1",
                f"Host: localhost\r\nAuthorization: Bearer {OPERATOR}",
                f"Range: bytes={first}-{first + 0xFFFFF}\r\n\r\n",
            )
            sock.sendall("\r\n".join(head).encode())
            self.stage.over.wait(self.random.uniform(0, 0.5))

    def _noise(self) -> None:
        with self.stage.service.connect() as sock:
            sock.sendall(self.random.randbytes(200) + b"\r\n\r\n")
            sock.settimeout(2)
            with contextlib.suppress(OSError):
                sock.recv(4096)

    def _stranger(self) -> None:
        wrong = {"Authorization": f"Bearer {OPERATOR[:-1]}x"}
        heard = self.line.ask("GET", "/v1/targets", headers=wrong)
        self.count("with a wrong token")
        with noted(heard, "a list, with a wrong token"):
            if heard.status != 401:
                raise Wrong("a wrong token gets in")
