#!/usr/bin/env python3
"""An agent bridge with Python's standard library alone: an agent's line is opened, and customers are put through to it.

    CARILLON=http://127.0.0.1:8080 TOKEN=... examples/agent_bridge.py TRUNK AGENT CUSTOMER [CUSTOMER ...]

The agent is called first and stays on the line, parked, between customers ("nailed-up"). Each customer is called in turn; who
answers is bridged with the agent, and when that customer hangs up the agent is parked again. Prints a line for each customer,
"NUMBER DISPOSITION talked|not reached", and exits 0 if the agent has answered.
"""

import json
import os
import sys
import urllib.request

BASE = os.environ.get("CARILLON", "http://127.0.0.1:8080")
TOKEN = os.environ["TOKEN"]


def request(method: str, path: str, body: dict | None = None, accept: str = "application/json"):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": accept}
    return urllib.request.urlopen(urllib.request.Request(BASE + path, data, headers, method=method))


def api(method: str, path: str, body: dict | None = None) -> dict:
    with request(method, path, body) as answer:
        return json.loads(answer.read() or b"null")


class Events:
    """What happens from now on, to every call."""

    def __init__(self) -> None:
        # The engine answers when the subscription stands: nothing after this is missed.
        self.stream = request("GET", "/v1/events?types=call.*", accept="text/event-stream")

    def until(self, *wanted: tuple[str, str]) -> dict:
        """Reads on to the first event of one of these types and calls."""
        for line in self.stream:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if (event["type"], event.get("call_id")) in wanted:
                    return event
        raise ConnectionError("the stream of events ended")


def main() -> int:
    trunk, agent_number, *customers = sys.argv[1:]
    events = Events()
    agent = api("POST", "/v1/calls", {"to": agent_number, "trunk": trunk})["id"]
    if events.until(("call.answered", agent), ("call.ended", agent))["type"] == "call.ended":
        print("the agent does not answer", file=sys.stderr)
        return 1
    for number in customers:
        customer = api("POST", "/v1/calls", {"to": number, "trunk": trunk})["id"]
        if events.until(("call.answered", customer), ("call.ended", customer))["type"] == "call.answered":
            # on_end is the customer's, with_on_end the agent's: his line stays.
            api("POST", f"/v1/calls/{customer}/bridge", {"with": agent, "on_end": "hangup", "with_on_end": "park"})
            events.until(("call.ended", customer))
        call = api("GET", f"/v1/calls/{customer}")
        talked = "answered_at" in call
        print(number, call["disposition"], "talked" if talked else "not reached", flush=True)
    api("DELETE", f"/v1/calls/{agent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
