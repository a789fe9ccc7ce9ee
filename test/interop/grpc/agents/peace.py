"""The Python client's part; what it says on stdout is told at the head of suite.ts.
python peace.py <host:port> <topic> <push topic> <group> <push group>
"""
import json
import os
import sys
import threading
import time

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message,
                      MessageListener, Producer, PushConsumer, SimpleConsumer)

endpoints, topic, push_topic, group, push_group = sys.argv[1:6]
configuration = ClientConfiguration(endpoints, Credentials())


def say(**line):
    print(json.dumps(line), flush=True)


def message(to, body, **more):
    made = Message()
    made.topic = to
    made.body = body.encode()
    if 'tag' in more:
        made.tag = more['tag']
    for key in more.get('keys', []):
        made.keys = key
    for name, value in more.get('properties', {}).items():
        made.add_property(name, value)
    return made


def told(received):
    return dict(body=received.body.decode(), tag=received.tag, keys=sorted(received.keys),
                properties=dict(received.properties), id=received.message_id, attempt=received.delivery_attempt)


def one(consumer):
    while True:
        messages = consumer.receive(1, 10)
        if messages:
            return messages[0]


producer = Producer(configuration, (topic, push_topic))
producer.startup()
consumer = SimpleConsumer(configuration, group, {topic: FilterExpression()}, await_duration=2)
consumer.startup()
say(step='started')

receipt = producer.send(message(topic, 'hello', tag='blue', keys=['k1', 'k2'], properties={'colour': 'red'}))
say(step='sent', id=receipt.message_id)
first = one(consumer)
say(step='received', **told(first))
consumer.change_invisible_duration(first, 3)
consumer.ack(first)
time.sleep(3.5)
say(step='after', messages=len(consumer.receive(1, 10) or []))

producer.send(message(topic, 'again'))
consumer.change_invisible_duration(one(consumer), 1)
again = one(consumer)
say(step='again', **told(again))
consumer.ack(again)

for n in range(200):
    producer.send(message(topic, f'message-{n}'))
received = []
# A poll that a drain wakes is empty too: it ends with one that is empty after all have come.
until = time.time() + 60
while True:
    messages = consumer.receive(32, 10) or []
    for each in messages:
        consumer.ack(each)
        received.append(each.body.decode())
    if not messages and (len(received) >= 200 or time.time() > until):
        break
say(step='many', received=received)


class Listener(MessageListener):
    def __init__(self):
        self.lock = threading.Lock()
        self.bodies = []

    def consume(self, pushed):
        with self.lock:
            self.bodies.append(pushed.body.decode())
        return ConsumeResult.SUCCESS


listener = Listener()
push = PushConsumer(configuration, push_group, listener, {push_topic: FilterExpression()})
push.startup()
for n in range(20):
    producer.send(message(push_topic, f'push-{n}'))
for _ in range(600):
    if len(listener.bodies) >= 20:
        break
    time.sleep(0.1)
time.sleep(0.5)
say(step='pushed', received=listener.bodies)

consumer.shutdown()
producer.shutdown()
say(step='bye')
os._exit(0)  # threads of the push consumer wait for its poll
