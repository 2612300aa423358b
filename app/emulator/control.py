"""The control endpoints: the account, and what a test or a demonstration may change while the emulator runs."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.emulator.answer import JSON, enveloped, to_json
from app.emulator.courier import Courier
from app.emulator.fault import FAULTS
from app.emulator.fault_plan import FaultRule
from app.emulator.generation_request import BadRequest
from app.emulator.ledger import UnknownKey
from app.emulator.outage import OUTAGES
from app.emulator.under_way import UnderWay
from app.emulator.world import World

Endpoint = Callable[[Request], Awaitable[Response]]


class Control:
    """The endpoints under ``/control``. They ask for no key: an emulator holds nothing of worth."""

    def __init__(self, world: World, courier: Courier, under_way: UnderWay) -> None:
        self._world = world
        self._courier = courier
        self._under_way = under_way

    def routes(self) -> list[Route]:
        """Every control endpoint."""
        return [
            _route("GET", "/control/account", self.account),
            _route("GET", "/control/under-way", self.under_way),
            _route("GET", "/control/faults", self.faults),
            _route("POST", "/control/faults", self.add_fault),
            _route("DELETE", "/control/faults", self.clear_faults),
            _route("POST", "/control/credits", self.set_credits),
            _route("POST", "/control/keys", self.issue_key),
            _route("DELETE", "/control/keys/{key}", self.withdraw_key),
            _route("GET", "/control/outage", self.outage),
            _route("POST", "/control/outage", self.set_outage),
            _route("POST", "/control/reset", self.reset),
        ]

    async def account(self, _request: Request) -> Response:
        """The books."""
        return _json(self._world.account())

    async def under_way(self, _request: Request) -> Response:
        """The submits that are being answered."""
        return _json({"submits": self._under_way.describe()})

    async def faults(self, _request: Request) -> Response:
        """The rules in force, and the catalogue."""
        known = {name: fault.meaning for name, fault in FAULTS.items()}
        return _json({"faults": self._world.faults(), "known": known})

    async def add_fault(self, request: Request) -> Response:
        """Put a rule in force: ``{"fault": NAME, "value"?: …, "rate"|"every"|"next"?: …}``."""
        self._world.add_fault(FaultRule.from_control(await _order(request)))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """Drop every rule."""
        self._world.clear_faults()
        return await self.faults(request)

    async def set_credits(self, request: Request) -> Response:
        """Set what a key has left: ``{"key": …, "credits": …}``."""
        order = await _order(request)
        self._world.set_credits(_text(order, "key"), _count(order, "credits"))
        return _json({"ok": True})

    async def issue_key(self, request: Request) -> Response:
        """Make a key valid: ``{"key": …, "credits": …}``."""
        order = await _order(request)
        self._world.issue_key(_text(order, "key"), _count(order, "credits"))
        return _json({"ok": True})

    async def withdraw_key(self, request: Request) -> Response:
        """Make a key invalid."""
        self._world.withdraw_key(request.path_params["key"])
        return _json({"ok": True})

    async def outage(self, _request: Request) -> Response:
        """The outages in force."""
        return _json(self._world.outages())

    async def set_outage(self, request: Request) -> Response:
        """Begin or end outages: ``{"submit"?: "500"|"502"|"refuse"|null, "status"?: …}``; what is left out stays."""
        order = await _order(request)
        changes = [(kind, _outage(order, kind)) for kind in ("submit", "status") if kind in order]
        for kind, outage in changes:
            self._world.set_outage("submit" if kind == "submit" else "status", outage)
        return await self.outage(request)

    async def reset(self, _request: Request) -> Response:
        """Forget everything."""
        self._world.reset()
        self._courier.wake()
        return _json({"ok": True})


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except UnknownKey as error:
            return _refusal(404, f"Not Found: no key {error.args[0]!r}.")
        except ValueError as error:
            return _refusal(422, f"Unprocessable: {error}")

    return Route(path, guarded, methods=[method])


def _refusal(status: int, message: str) -> Response:
    answer = enveloped(status, message)
    return Response(answer.body, answer.status, dict(answer.headers))


def _json(value: object) -> Response:
    return Response(to_json(value), media_type=JSON)


async def _order(request: Request) -> Mapping[str, object]:
    order = await request.json()
    if not isinstance(order, dict):
        raise BadRequest("the body must be a JSON object")
    return order


def _text(order: Mapping[str, object], name: str) -> str:
    value = order.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"'{name}' must be a non-empty string")
    return value


def _count(order: Mapping[str, object], name: str) -> int:
    value = order.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"'{name}' must be a number, 0 or more")
    return value


def _outage(order: Mapping[str, object], kind: str) -> str | None:
    value = order[kind]
    if value is not None and str(value) not in OUTAGES:
        raise BadRequest(f"'{kind}' must be one of {', '.join(OUTAGES)} or null")
    return None if value is None else str(value)
