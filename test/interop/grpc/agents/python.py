"""The Python client's part in the table; what it says on stdout is told at the head of behaviours.ts.
python python.py <host:port> <prefix> <behaviours, by commas>
"""
import json
import os
import sys
import threading
import time

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer, SimpleConsumer, TransactionChecker, TransactionResolution)
from rocketmq.grpc_protocol import FilterType

endpoints, prefix = sys.argv[1:3]
names = sys.argv[3].split(',')
configuration = ClientConfiguration(endpoints, Credentials())


class Commit(TransactionChecker):
    def check(self, message):
        return TransactionResolution.COMMIT


def topic_of(behaviour):
    return f'{prefix}-{behaviour}'


producer = Producer(configuration, tuple(topic_of(name) for name in names), Commit())


def message(behaviour, body, tag=None, keys=(), properties=None, group=None, delay=None, priority=None):
    made = Message()
    made.topic = topic_of(behaviour)
    made.body = body.encode()
    if tag:
        made.tag = tag
    for key in keys:
        made.keys = key
    for name, value in (properties or {}).items():
        made.add_property(name, value)
    if group:
        made.message_group = group
    if delay:
        made.delivery_timestamp = int(time.time() + delay)
    if priority is not None:
        made.priority = priority
    return made


def send(behaviour, body, **more):
    return producer.send(message(behaviour, body, **more))


class Consumer:
    """A simple consumer of a behaviour's topic, for as long as it lasts."""

    def __init__(self, behaviour, expression=None):
        self.consumer = SimpleConsumer(configuration, f'{topic_of(behaviour)}-g',
                                       {topic_of(behaviour): expression or FilterExpression()}, await_duration=1)

    def __enter__(self):
        self.consumer.startup()
        return self.consumer

    def __exit__(self, *_):
        self.consumer.shutdown()


def take(consumer, count, seconds=60):
    taken = []
    until = time.time() + seconds
    while len(taken) < count and time.time() < until:
        for one in consumer.receive(16, 10) or []:
            consumer.ack(one)
            taken.append(one)
    return taken


def bodies(messages):
    return [one.body.decode() for one in messages]


def normal():
    with Consumer('normal') as consumer:
        send('normal', 'hello', tag='blue', keys=['k1'], properties={'colour': 'red'})
        one = take(consumer, 1)[0]
        return [one.body.decode(), one.tag, list(one.keys)[0], one.properties['colour'], one.delivery_attempt]


def fifo():
    with Consumer('fifo') as consumer:
        for n in range(6):
            send('fifo', str(n), group='one')
        return bodies(take(consumer, 6))


def delay():
    with Consumer('delay') as consumer:
        began = int(time.time())
        send('delay', 'later', delay=3)
        take(consumer, 1)
        return ['in time' if time.time() - began >= 2.9 else 'early']


def recall():
    with Consumer('recall') as consumer:
        receipt = send('recall', 'never', delay=5)
        recalled = producer.recall_message(topic_of('recall'), receipt.recall_handle)
        same = (recalled if isinstance(recalled, str) else recalled.message_id) == receipt.message_id
        return ['true' if same else 'false', len(take(consumer, 1, 6))]


def priority():
    with Consumer('priority') as consumer:
        send('priority', 'urgent', priority=3)
        one = take(consumer, 1)[0]
        return [one.body.decode(), one.priority]


def transaction():
    with Consumer('transaction') as consumer:
        for end in ('rollback', 'commit'):
            begun = producer.begin_transaction()
            producer.send(message('transaction', end), begun)
            getattr(begun, end)()
        return bodies(take(consumer, 2, 3))


def check_back():
    with Consumer('checkBack') as consumer:
        producer.send(message('checkBack', 'checked'), producer.begin_transaction())
        return bodies(take(consumer, 1, 30))


def tag_filter():
    with Consumer('tagFilter', FilterExpression('blue || green')) as consumer:
        for tag in ('red', 'blue', 'green'):
            send('tagFilter', tag, tag=tag)
        return sorted(bodies(take(consumer, 2)))


def sql_filter():
    with Consumer('sqlFilter', FilterExpression('n > 2', FilterType.SQL)) as consumer:
        for n in '1234':
            send('sqlFilter', n, properties={'n': n})
        return sorted(bodies(take(consumer, 2)))


def change_invisible():
    with Consumer('changeInvisible') as consumer:
        send('changeInvisible', 'again')
        got = []
        while not got:
            got = consumer.receive(1, 10) or []
        consumer.change_invisible_duration(got[0], 1)
        return [got[0].delivery_attempt, take(consumer, 1)[0].delivery_attempt]


class Listener(MessageListener):
    def __init__(self, seen, take_one):
        self.lock = threading.Lock()
        self.seen = seen
        self.take_one = take_one

    def consume(self, one):
        with self.lock:
            return ConsumeResult.SUCCESS if self.take_one(one, self.seen) else ConsumeResult.FAILURE


def pushed(behaviour, take_one, publish, done):
    seen = []
    push = PushConsumer(configuration, f'{topic_of(behaviour)}-g', Listener(seen, take_one),
                        {topic_of(behaviour): FilterExpression()})
    push.startup()
    publish()
    for _ in range(600):
        if done(seen):
            break
        time.sleep(0.1)
    time.sleep(0.5)
    return seen


def body_but(which):
    """Takes each message but the one that is seen as this one the first time."""
    def take_one(one, seen):
        seen.append(one.body.decode())
        return len(seen) != which
    return take_one


def push():
    return sorted(pushed('push', body_but(0), lambda: [send('push', str(n)) for n in range(20)],
                         lambda seen: len(seen) >= 20), key=int)


def push_fifo():
    return pushed('pushFifo', body_but(3), lambda: [send('pushFifo', str(n), group='one') for n in range(6)],
                  lambda seen: len(seen) >= 7)


def dead_letter():
    def take_one(one, seen):
        seen.append(str(one.delivery_attempt))
        return False
    return pushed('deadLetter', take_one, lambda: send('deadLetter', 'hopeless'), lambda seen: len(seen) >= 2)


behaviours = dict(normal=normal, fifo=fifo, delay=delay, recall=recall, priority=priority, transaction=transaction,
                  checkBack=check_back, tagFilter=tag_filter, sqlFilter=sql_filter, changeInvisible=change_invisible,
                  push=push, pushFifo=push_fifo, deadLetter=dead_letter)

producer.startup()
for step in names:
    try:
        line = dict(step=step, result=[str(one) for one in behaviours[step]()])
    except Exception as error:  # what a client cannot do is told, and the next one played
        line = dict(step=step, error=f'{type(error).__name__}: {error}')
    print(json.dumps(line), flush=True)
os._exit(0)  # threads of the push consumer wait for its poll
