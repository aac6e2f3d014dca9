"""The rule of the JSON form, written by itself in Python: each line of stdin is one request, each line of stdout its answer.

The requests are those of rule.mjs.
"""

import hashlib
import hmac
import json
import sys
from datetime import datetime, timezone

SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}


def quoted(text):
    """Writes a string as JSON.stringify does."""
    signs = []
    for sign in text:
        code = ord(sign)
        if code in SHORT:
            signs.append(SHORT[code])
        elif code < 0x20 or 0xD800 <= code <= 0xDFFF:
            signs.append("\\u%04x" % code)
        else:
            signs.append(sign)
    return '"' + "".join(signs) + '"'


def members(fields, names):
    return ",".join('"%s":%s' % (name, quoted(fields[name])) for name in names)


def hmac_of(fields, secret):
    text = "{" + members(fields, ["type", "sessionId", "machineId", "payload", "nonce", "timestamp"]) + "}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def seal(fields, secret):
    data = members(fields, ["sessionId", "machineId", "payload", "nonce", "timestamp"])
    return '{"type":%s,"sessionToken":null,"data":{%s,"hmac":"%s"}}' % (quoted(fields["type"]), data, hmac_of(fields, secret))


def open_message(message, secret, now):
    outer = json.loads(message)
    fields = dict(outer["data"], type=outer["type"])
    made = datetime.strptime(fields["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    if abs(now - made.timestamp() * 1000) > 60_000:
        return {"valid": False, "reason": "timestamp"}
    if not hmac.compare_digest(hmac_of(fields, secret), fields["hmac"]):
        return {"valid": False, "reason": "hmac"}
    return {"valid": True, "payload": fields["payload"]}


def main():
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for line in sys.stdin:
        request = json.loads(line)
        if "seal" in request:
            print(seal(request["seal"], request["secret"]))
        else:
            print(json.dumps(open_message(request["open"], request["secret"], request["now"])))


main()
