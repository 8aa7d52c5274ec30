"""The patterns of every kind, over folded text (small letters, ASCII digits)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ai102.masking import checks
from ai102.masking.pattern import Pattern

KINDS = ("secret", "token", "email", "identity", "card", "phone", "landline", "ip", "name")
# A mark that is already there, of whatever kind, folded: no value of a secret begins with it.
MARK = rf"\[(?:{'|'.join(KINDS)})(?:\#[a-z]{{16}}|~[a-z0-9]{{1,16}}~[a-z]+|\*[0-9x]{{1,4}})?\]"
# Stands for what is masked already; half of a character, so that no text has it.
STRUCK = "\ud800"
MASKED = rf"{MARK}|\ud800"
WHOLE_MARK = re.compile(MARK)
ENDS_VALUE = r"[\s,;)\]}\"'&]"
# A number is not one where it goes on: digits, letters, a fraction before it or after it.
NOT_AFTER = (r"[0-9a-z_]", r"[0-9]\.")
NOT_BEFORE = (r"[0-9a-z_]", r"\.[0-9]")

WORDS = (
    ("p", r"ass(?:word|wd|phrase|code)"), ("p", r"wd(?!=/)"), ("p", r"rivate[_ -]?key"), ("s", r"ecret"),
    ("s", r"ignature"), ("t", r"oken"), ("a", r"pi[_ -]?key"), ("a", r"ccess[_-]?key"), ("a", r"uth[_-]?key"),
    ("c", r"redentials?"), ("a", r"uthorization"), ("c", r"ookie"),
    ("密", r"码"), ("密", r"钥"), ("口", r"令"), ("令", r"牌"),
)  # fmt: skip
TRIGGERS = ("pass", "pwd", "secret", "signature", "token", "credential", "authorization", "cookie",
            "key", "密码", "密钥", "口令", "令牌")  # fmt: skip
SUFFIX = r"(?:[_-]?(?:access[_-]?)?(?:key|value|hash|id))?"
SEPARATOR = r"\\{0,4}(?:[\"']\]?)?\s{0,8}(?:=>|:=|={1,3}(?![=>])|:(?![=:])|是|为)\s{0,8}"
# ("password", "..."), as header lists are printed; not the key that follows in "refused":"no token","bytes":1
IN_TUPLE = r"[\"']\s{0,4},\s{0,4}b?(?=[\"'])(?![\"'][^\"'\r\n]{0,64}[\"']\s{0,4}:)"
# Possessive over single characters only: of a group, Python before 3.11.5 keeps what its last, failed round had passed.
QUOTED = (
    rf"b?\"((?!{MASKED})(?:[^\"\\\r\n]++|\\.)+)|b?'((?!{MASKED})(?:[^'\\\r\n]++|\\.)+)"
    rf"|\\{{1,4}}[\"']((?!{MASKED})[^\"'\\\r\n]++(?:\\++[^\"'\\\r\n]++)*)"
)
SCHEME = r"(?:(?:bearer|basic|digest|negotiate|apikey|token)\s{1,8})?"
BARE = (
    r"(?!b?[\"']|\\{1,4}[\"'])[^\s,;)\]}&]"
    rf"(?:[^\s\"',;)\]}}&]++|[\"',;)\]}}&](?!{ENDS_VALUE}|\Z|[a-z0-9_.-]{{1,40}}[\"']?[:=]))*"
)
PLAIN_WORD = rf"(?:none|null|nil|true|false|undefined|\*{{1,16}}|[0-9]{{1,6}}\.[0-9]{{1,6}})(?:{ENDS_VALUE}|\Z)"

FOREIGN = r"\u00c0-\u024f\u0370-\u052f\u0590-\u1fff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # letters
LABEL = rf"[a-z0-9{FOREIGN}_-]{{1,63}}"
# Where a Chinese domain ends no space need follow: the registered top domains come first, then any run of letters.
CHINESE_TOP = (
    r"中国|中國|公司|网络|網絡|网址|在线|中文网|中信|政务|公益|香港|台湾|台灣|澳门"
    r"|集团|商城|网店|商店|移动|信息|网站|手机|新加坡"
)
TOP = rf"(?:xn--[a-z0-9-]{{1,59}}|[a-z]{{2,24}}(?![a-z])|{CHINESE_TOP}|[{FOREIGN}]{{2,16}})"
# image@2x.png, package@1.3.0-beta, build@release.json
NOT_A_DOMAIN = (
    r"(?![0-9]x\.)(?!v?[0-9]{1,5}\.[0-9]{1,5}\.[0-9])"
    r"(?![^\s.]{1,63}\.(?:png|jpe?g|gif|webp|txt|json|ya?ml|toml|onnx|plan|log|pdf|csv|xml|html|lua)(?![a-z.]))"
)
DOMAIN = rf"{NOT_A_DOMAIN}(?:{LABEL}\.){{1,10}}{TOP}"

OCTETS = r"(?:\.[0-9]{1,3}){3}"  # all but the first
IPV4 = rf"[0-9]{{1,3}}{OCTETS}"
AREA = (
    r"(?:10|2[0-57-9]|3(?:1[0-9]|35|49|5[0-9]|7[0-9]|9[1-8])|4(?:1[1-9]|2[179]|3[1-9]|40|5[1-9]|64|69|7[0-9]|8[23])"
    r"|5(?:1[0-9]|2[37]|3[0-9]|4[36]|5[0-9]|6[1-6]|7[0-9]|80|9[1-9])|6(?:3[1-5]|6[0238]|9[12])"
    r"|7(?:01|1[0-9]|2[248]|3[0-9]|4[3-6]|5[0-9]|6[0-36-9]|7[0-9]|9[0-9])"
    r"|8(?:1[236-8]|2[5-7]|3[0-9]|5[4-9]|7[0-9]|8[3678]|9[1-8])|9(?:0[1-9]|1[0-9]|3[0-9]|4[136]|5[1-5]|7[0-79]|9[0-9]))"
)
SUBSCRIBER = r"[2-8](?:[0-9]{6,7}|[0-9]{2,3}[ -][0-9]{4})(?:[ -]?(?:转|ext\.? ?|-)[0-9]{1,6})?"
MOBILE = (
    r"[3-9](?:[0-9]{9}|[0-9][ -][0-9]{4}[ -][0-9]{4}"
    r"|[0-9]{2}[ -][0-9]{3}[ -][0-9]{4}|[0-9][ -][0-9]{8}|[0-9]{5}[ -][0-9]{4})"
)


# Ten digits with at most two signs between: less is no number of any kind here.
MANY_DIGITS = r"[0-9](?:[ ()-]{0,2}[0-9]){9}"
DOTTED = r"[0-9]\.[0-9]{1,3}\.[0-9]"
COLONS = r":(?::|[0-9a-f]{1,4}:[0-9a-f]{1,4}:)"


def secret() -> list[Pattern]:
    """Values of keys that name a secret: key=value, JSON, headers, and the password inside an address."""
    value = rf"(?:{QUOTED}|(?!{PLAIN_WORD})({SCHEME}(?!{MASKED}){BARE}))"
    header = r"((?:digest|aws4-hmac-sha256)\s[^\r\n]{1,8192}|[^\s\"'\\\[{](?:[^\r\n\"'\\]*[^\s\"'\\])?)"
    return [
        Pattern("secret", (("a", "uthorization"), ("c", "ookie")), triggers=("authorization:", "cookie:"),
                tail=rf":\s{{0,8}}(?!{MASKED}){header}"),
        Pattern("secret", WORDS, triggers=TRIGGERS, tail=rf"{SUFFIX}(?:{SEPARATOR}|{IN_TUPLE}){value}"),
        Pattern("secret", ((":", rf"//[^\s/:@\"'<>]{{1,256}}:(?!{MASKED})([^\s/@\"'<>]{{1,256}})@"),), triggers=("://",)),
    ]  # fmt: skip


def token() -> list[Pattern]:
    """Bearer tokens, and JSON Web Tokens wherever they stand (RFC 6750, 7519)."""
    return [
        Pattern("token", (("b", r"earer\s{1,8}([a-z0-9._~+/=-]{8,})"),), (r"[0-9a-z_]",), triggers=("bearer",),
                check=checks.opaque),
        Pattern("token", (("e", r"yj[a-z0-9_-]{5,}(?:\.[a-z0-9_-]*){1,4}"),), (r"[0-9a-z_-]",), triggers=("eyj",),
                check=checks.opaque),
    ]  # fmt: skip


def email() -> list[Pattern]:
    """Addresses whose local part is ASCII; the domain may be international."""
    local = r"[a-z0-9_.%+~-]"
    return [
        Pattern("email", ((local, rf"{local}{{0,127}}@{DOMAIN}"),), (local,), (r"[a-z]",), ("@",)),
        Pattern("email", (('"', rf"[^\"\\\r\n]{{1,64}}\"@{DOMAIN}"),), (), (r"[a-z]",), ('"@',)),
    ]


def identity() -> list[Pattern]:
    """Resident identity numbers of mainland China, of 18 and 15 characters; letters may stand beside the long one."""
    month, day = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
    long = rf"[0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}{month}{day}[ -]?[0-9]{{3}}[0-9x]"
    short = rf"[0-9]{{5}}[0-9]{{2}}{month}{day}[0-9]{{3}}"
    return [
        Pattern("identity", ((r"[1-9]", long),), (r"[0-9]",), (r"[0-9]",), gate=MANY_DIGITS,
                check=checks.identity),
        Pattern("identity", ((r"[1-9]", short),), NOT_AFTER, NOT_BEFORE, gate=MANY_DIGITS,
                check=checks.identity),
    ]  # fmt: skip


def card() -> list[Pattern]:
    """Bank card numbers, whole or in groups."""
    return [
        Pattern("card", ((r"[2-689]", r"(?:[ -]?[0-9]){12,18}"),), NOT_AFTER, NOT_BEFORE, (), MANY_DIGITS, checks.card)
    ]


def phone() -> list[Pattern]:
    """Mobile numbers of mainland China, with and without the country's prefix."""
    openings = (
        ("1", MOBILE), (r"\+", rf"86[ -]?1{MOBILE}"), ("0", rf"086[ -]?1{MOBILE}"), ("8", rf"6[ -]?1{MOBILE}"),
        (r"\(", rf"(?:\+|00)?86\)[ -]?1{MOBILE}"),
    )  # fmt: skip
    return [Pattern("phone", openings, NOT_AFTER, NOT_BEFORE, gate=MANY_DIGITS)]


def landline() -> list[Pattern]:
    """Landline numbers of mainland China; the area code must be one that is in use."""
    openings = (
        ("0", rf"{AREA}[ -]?{SUBSCRIBER}"), (r"\(", rf"0{AREA}\)[ -]?{SUBSCRIBER}"),
        (r"\+", rf"86[ -]?(?:\(0\))?0?{AREA}[ -]?{SUBSCRIBER}"), ("8", rf"6-0?{AREA}-{SUBSCRIBER}"),
        ("0", rf"086[ -]?0?{AREA}[ -]?{SUBSCRIBER}"),
    )  # fmt: skip
    return [Pattern("landline", openings, (*NOT_AFTER, r"[0-9]-"), NOT_BEFORE, gate=MANY_DIGITS)]


def ip(spared: Sequence[str] = ()) -> list[Pattern]:
    """IPv4 and IPv6 addresses. What `spared` networks hold stays."""
    zone = r"(?:%[0-9a-z._-]{0,31}[0-9a-z])?"
    v6 = rf"(?:[0-9a-f]{{0,4}}:){{1,7}}(?:{IPV4}|(?:[0-9a-f]{{1,4}}|(?<=::))(?!:[0-9a-f:])){zone}"
    return [
        Pattern("ip", ((r"[0-9]", rf"[0-9]{{0,2}}{OCTETS}"),), (r"[0-9a-z_.]",),
                (r"[0-9a-z_]", r"\.[0-9]"), (), DOTTED, checks.ipv4, tuple(spared)),
        Pattern("ip", ((r"[0-9a-f:]", v6),), (r"[0-9a-z_:.]",), (r"[0-9a-z_]", r"\.[0-9]"),
                (), COLONS, checks.ipv6, tuple(spared)),
    ]  # fmt: skip


BUILT: dict[str, Callable[[], list[Pattern]]] = {
    "secret": secret, "token": token, "email": email, "identity": identity, "card": card, "phone": phone,
    "landline": landline,
}  # fmt: skip
