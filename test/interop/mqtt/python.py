"""The agent that drives the unmodified Paho Python client: commands and events as in suite.ts."""

import json
import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port = int(sys.argv[1])
lock = threading.Lock()
clients = {}


def say(**fields):
    with lock:
        print(json.dumps(fields), flush=True)


def open_client(name, client_id, version, fresh):
    five = version == 5
    options = {} if five else {"clean_session": fresh}
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if five else paho.MQTTv311,
        **options,
    )
    client.reconnect_delay_set(1, 1)
    client.max_inflight_messages_set(20)
    client.on_connect = lambda _c, _u, flags, reason, _p: say(
        event="open", client=name, present=flags.session_present, reason=reason.value
    )
    client.on_subscribe = lambda *_: say(event="subscribed", client=name)
    client.on_message = lambda _c, _u, message: say(
        event="message", client=name, topic=message.topic, qos=message.qos, body=message.payload.decode()
    )
    if five:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if fresh else 3600
        client.connect("127.0.0.1", port, 20, clean_start=fresh, properties=properties)
    else:
        client.connect("127.0.0.1", port, 20)
    client.loop_start()
    clients[name] = client


def publish(name, topic, qos, first, end):
    sent = [clients[name].publish(topic, str(n), qos) for n in range(first, end)]

    def wait():
        for one in sent:
            one.wait_for_publish(120)
        say(event="published", client=name)

    threading.Thread(target=wait, daemon=True).start()


for line in sys.stdin:
    command = json.loads(line)
    what, name = command["do"], command["client"]
    if what == "open":
        open_client(name, command["id"], command["version"], command["fresh"])
    elif what == "subscribe":
        clients[name].subscribe(command["topic"], command["qos"])
    elif what == "publish":
        publish(name, command["topic"], command["qos"], command["from"], command["to"])
    elif what == "close":
        client = clients.pop(name)
        client.disconnect()
        client.loop_stop()
        say(event="closed", client=name)
