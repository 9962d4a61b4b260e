"""Answer the calls about who is calling: token introspection, OAuth refresh, whoami."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.lib.kaggle.wire import ApiError, text
from plugins.lib.kaggle.world import ACCESS_TOKEN_S

if TYPE_CHECKING:
    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

SCOPE = "resources.admin:*"


def introspect(world: World, _user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Tell whose token it is; the official CLI asks at every start."""
    try:
        name = world.accounts.bearer(text(body, "token"))
    except ApiError:
        name = None
    if name is None:
        return {"active": False}
    return {
        "active": True,
        "username": name,
        "userId": world.accounts.users[name]["id"],
        "clientId": "kagglesdk",
        "scope": SCOPE,
        "exp": int(world.clock().timestamp()) + ACCESS_TOKEN_S,
    }


def generate_access_token(world: World, _user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Exchange an OAuth refresh token for an access token."""
    wanted = text(body, "expirationDuration").rstrip("s")
    try:
        # "0s" means 2 days: the SDK sends timedelta.seconds, which drops the days.
        lifetime_s = min(int(float(wanted or 0)) or ACCESS_TOKEN_S, ACCESS_TOKEN_S)
    except ValueError:  # "1.500.0s", the same defect with fractions
        lifetime_s = ACCESS_TOKEN_S
    token, name = world.accounts.access_token(text(body, "refreshToken"), lifetime_s)
    return {"token": token, "expiresIn": lifetime_s, "userName": name, "userId": world.accounts.users[name]["id"]}


def hello(_world: World, user: str | None, _body: dict[str, Any], /) -> dict[str, Any]:
    """Tell the caller its name; kagglehub's whoami."""
    if user is None:
        raise ApiError(401, "Unauthenticated")
    return {"userName": user}


METHODS: dict[str, RPC] = {
    "security.OAuthService/IntrospectToken": introspect,
    "users.AccountService/GenerateAccessToken": generate_access_token,
    "api.v1.DiagnosticsService/Hello": hello,
}
