"""Requests that the issuer refuses, and how."""

from .conftest import PASSWORD

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UTF_16 = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"}
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
BASIC = {"Authorization": "Basic YTpi"}
TOKEN, REVOKE = "/auth/token", "/auth/revoke"
REQUEST, GRANT = "invalid_request", "invalid_grant"
BY_PASSWORD = "grant_type=password&username="
GOOD = f"{BY_PASSWORD}alice&password={PASSWORD.replace(' ', '+')}"

# method, path, headers, body, status, error
Row = tuple[str, str, dict[str, str], str | bytes, int, str]
BAD: dict[str, Row] = {
    "json": ("POST", TOKEN, JSON, '{"grant_type": "password"}', 415, REQUEST),
    "multipart": ("POST", TOKEN, MULTIPART, "--x--", 415, REQUEST),
    "no type": ("POST", TOKEN, {}, GOOD, 415, REQUEST),
    "utf-16": ("POST", TOKEN, UTF_16, GOOD, 415, REQUEST),
    "gzip": ("POST", TOKEN, FORM | {"Content-Encoding": "gzip"}, GOOD, 415, REQUEST),
    "empty": ("POST", TOKEN, FORM, "", 400, REQUEST),
    "no pairs": ("POST", TOKEN, FORM, "hello", 400, REQUEST),
    "not ascii": ("POST", TOKEN, FORM, b"username=\xff", 400, REQUEST),
    "not utf-8": ("POST", TOKEN, FORM, "grant_type=password&username=%ff&password=x", 400, REQUEST),
    "nul": ("POST", TOKEN, FORM, "grant_type=password&username=a%00&password=x", 400, REQUEST),
    "twice": ("POST", TOKEN, FORM, GOOD + "&username=bob", 400, REQUEST),
    "many": ("POST", TOKEN, FORM, "&".join(f"p{n}=1" for n in range(99)), 400, REQUEST),
    "large": ("POST", TOKEN, FORM, "a=" + "x" * 20000, 413, REQUEST),
    "in the address": ("POST", "/auth/token?" + GOOD, FORM, "", 400, REQUEST),
    "no grant type": ("POST", TOKEN, FORM, "username=alice&password=x", 400, REQUEST),
    "no password": ("POST", TOKEN, FORM, BY_PASSWORD + "alice&password=", 400, REQUEST),
    "no user": ("POST", TOKEN, FORM, "grant_type=password&password=x", 400, REQUEST),
    "other grant type": ("POST", TOKEN, FORM, "grant_type=client_credentials", 400, "unsupported_grant_type"),
    "basic client": ("POST", TOKEN, FORM | BASIC, GOOD, 401, "invalid_client"),
    "client secret": ("POST", TOKEN, FORM, GOOD + "&client_secret=x", 401, "invalid_client"),
    "wrong password": ("POST", TOKEN, FORM, BY_PASSWORD + "alice&password=x", 400, GRANT),
    "unknown user": ("POST", TOKEN, FORM, BY_PASSWORD + "bob&password=x", 400, GRANT),
    "long password": ("POST", TOKEN, FORM, BY_PASSWORD + "alice&password=" + "x" * 16000, 400, GRANT),
    "unknown refresh": ("POST", TOKEN, FORM, "grant_type=refresh_token&refresh_token=r_x", 400, GRANT),
    "scope": ("POST", TOKEN, FORM, GOOD + "&scope=operator", 400, "invalid_scope"),
    "get": ("GET", TOKEN, {}, "", 405, REQUEST),
    "revoke nothing": ("POST", REVOKE, FORM, "", 400, REQUEST),
    "revoke json": ("POST", REVOKE, JSON, "{}", 415, REQUEST),
    "revoke large": ("POST", REVOKE, FORM, "token=" + "x" * 20000, 413, REQUEST),
    "me": ("GET", "/auth/me", {}, "", 401, "invalid_token"),
    "me basic": ("GET", "/auth/me", BASIC, "", 401, "invalid_token"),
    "elsewhere": ("GET", "/auth", {}, "", 404, REQUEST),
    "documents": ("GET", "/docs", {}, "", 404, REQUEST),
    "openapi": ("GET", "/openapi.json", {}, "", 404, REQUEST),
    "climbing": ("GET", "/auth/%2e%2e/users.db", {}, "", 404, REQUEST),
    "revoked through the gateway": ("GET", "/auth/revoked", {"X-Forwarded-For": "192.0.2.1"}, "", 404, REQUEST),
}  # fmt: skip
