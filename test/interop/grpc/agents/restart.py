"""The Python client's part in restarts; what it says on stdout is told at the head of ../restart.ts.
python restart.py <host:port> <topic> <sends at once>
"""
import json
import sys
import threading
import time

from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

endpoints, topic, width = sys.argv[1:4]
configuration = ClientConfiguration(endpoints, Credentials())
lock = threading.Lock()
busy = 0
count = 0
stopped = False


def say(**line):
    sys.stdout.write(json.dumps(line) + '\n')
    sys.stdout.flush()


producer = Producer(configuration, (topic,))
producer.startup()
consumer = SimpleConsumer(configuration, f'{topic}-g', {topic: FilterExpression()}, await_duration=2)
consumer.startup()


def sender():
    global busy, count
    while not stopped:
        with lock:
            count += 1
            busy += 1
            body = f'm-{count}'
        message = Message()
        message.topic = topic
        message.body = body.encode()
        try:
            producer.send(message)
            say(acked=body)
        except Exception:
            time.sleep(0.1)
        with lock:
            busy -= 1
        time.sleep(0.2)


def receiver():
    while True:
        try:
            for one in consumer.receive(32, 10) or []:
                say(got=one.body.decode())
                try:
                    consumer.ack(one)
                except Exception:
                    pass  # whether this was done is not known: then it may come again
        except Exception:
            time.sleep(0.2)


def stop():
    global stopped
    sys.stdin.readline()
    stopped = True


for work in [sender] * int(width) + [receiver, receiver, stop]:
    threading.Thread(target=work, daemon=True).start()
say(started=True)
while True:
    time.sleep(0.02)
    say(busy=busy)
