"""Public client libraries that send what a test compares: metric_senders.py HOST STATSD_PORT INFLUX_PORT, with the
libraries in PYTHONPATH. Each metric once, so that its name finds it."""
import datetime
import sys

from datadog.dogstatsd.base import DogStatsd
from influxdb import InfluxDBClient
from statsd import StatsClient

TIME = datetime.datetime.now(datetime.timezone.utc)


def send_statsd(host, port):
    client = StatsClient(host, port, prefix="plain")
    client.incr("counter")
    client.decr("down", 3)
    client.timing("timer", 320.5)
    client.timing("tiny", 1e-05)
    client.gauge("gauge", 70)
    client.gauge("change", -3, delta=True)
    client.set("set", "user 7")
    client.timing("broken", float("nan"))
    with client.pipeline() as lines:
        lines.incr("first")
        lines.incr("second", rate=1)


def send_dogstatsd(host, port):
    client = DogStatsd(host=host, port=port, disable_telemetry=True, constant_tags=["host:web-3", "env:prod"],
                       origin_detection_enabled=False)
    client.increment("dog.counter", tags=["team:a", "team:b", "beta"])
    client.gauge("dog.gauge", 1.25)
    client.distribution("dog.distribution", 5)
    client.set("dog.set", "x")
    client.gauge_with_timestamp("dog.timed", 8, int(TIME.timestamp()))
    client.event("title", "an event is no metric")
    client.service_check("check", 0)


def send_influx(host, port):
    client = InfluxDBClient(host=host, use_udp=True, udp_port=port)
    client.write_points([{
        "measurement": "in flux,x", "time": TIME, "tags": {"host": "web 3", "a=b": "c,d"},
        "fields": {"count": 7, "level": 0.5, "up": True, "note": 'say "hi"\nand \\ go'}}])
    client.write_points([{"measurement": "plain_influx", "fields": {"value": 1.5}}])
    client.close()


if __name__ == "__main__":
    send_statsd(sys.argv[1], int(sys.argv[2]))
    send_dogstatsd(sys.argv[1], int(sys.argv[2]))
    send_influx(sys.argv[1], int(sys.argv[3]))
