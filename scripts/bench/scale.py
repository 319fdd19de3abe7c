"""Thousands of groups on one core: what a tick costs, and how soon a job gets its capacity.

The poller is the real program; Buildkite's metrics and Auto Scaling are servers of this file on
loopback, which answer at once, in as many bytes as the real ones.
"""

import json
import os
import random
import threading
import time
from dataclasses import dataclass
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from fake_aws import Quiet, serve
from timing import percentile

INTERVAL = 10
PAGE = 100
# `cpu` in /proc/PID/stat is in these.
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Costs:
    groups: int
    tick_cpu_ms: float
    tick_cpu_ms_most: float
    resident_kib: int
    quiet_calls_a_minute: float
    fetches_a_minute: float
    delays: list


class World:
    """Queues and groups of the same names."""

    def __init__(self, names):
        self.names = list(names)
        self.waiting = dict.fromkeys(self.names, 0)
        self.running = dict.fromkeys(self.names, 0)
        self.desired = dict.fromkeys(self.names, 0)
        self.calls, self.fetches = [], []
        # When a job appeared in a queue, and when its group was raised.
        self.appeared, self.raised = {}, {}
        self.changed = threading.Condition()
        self.metrics = None
        self.queue = serve(Metrics)
        self.cloud = serve(AutoScaling)
        self.queue.world = self.cloud.world = self

    def body(self):
        """Buildkite's answer for all queues; made anew when a queue has changed."""
        if self.metrics is None:
            agents, jobs = {}, {}
            for name in self.names:
                busy = self.running[name]
                agents[name] = {"idle": self.desired[name] - busy, "busy": busy,
                                "total": self.desired[name]}
                waiting = self.waiting[name]
                jobs[name] = {"scheduled": waiting, "running": busy, "waiting": 0,
                              "total": waiting + busy}
            self.metrics = json.dumps({
                "agents": {"idle": 0, "busy": 0, "total": 0, "queues": agents},
                "jobs": {"scheduled": 0, "running": 0, "waiting": 0, "total": 0, "queues": jobs},
                "organization": {"slug": "bench"},
            })
        return self.metrics

    def job(self, name):
        with self.changed:
            self.waiting[name] += 1
            self.metrics = None
            self.appeared[name] = time.monotonic()

    def raise_to(self, name, desired):
        with self.changed:
            self.desired[name] = desired
            self.raised.setdefault(name, time.monotonic())
            # Its machine takes the job at once.
            self.running[name] += self.waiting[name]
            self.waiting[name] = 0
            self.metrics = None
            self.changed.notify_all()

    def wait_raised(self, names, patience):
        with self.changed:
            done = self.changed.wait_for(lambda: names <= self.raised.keys(), patience)
        if not done:
            missing = names - self.raised.keys()
            raise TimeoutError(f"{len(missing)} groups were not raised in {patience} s")


class Metrics(Quiet):
    def do_GET(self):
        world = self.server.world
        with world.changed:
            world.fetches.append(time.monotonic())
            body = world.body()
        self.answer(200, body, Content_Type="application/json")


class AutoScaling(Quiet):
    def do_POST(self):
        world = self.server.world
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        action = form["Action"][0]
        world.calls.append((time.monotonic(), action))
        if action == "SetDesiredCapacity":
            world.raise_to(form["AutoScalingGroupName"][0], int(form["DesiredCapacity"][0]))
            return self.agree(action)
        if action != "DescribeAutoScalingGroups":
            return self.agree(action)
        named = [value[0] for key, value in form.items()
                 if key.startswith("AutoScalingGroupNames.member.")]
        names = named or world.names
        start = int(form.get("NextToken", ["0"])[0])
        size = int(form.get("MaxRecords", ["50"])[0])
        page = names[start:start + min(size, PAGE)]
        more = start + len(page) < len(names)
        groups = "".join(group(name, world.desired[name]) for name in page)
        token = f"<NextToken>{start + len(page)}</NextToken>" if more else ""
        self.answer(
            200,
            f'<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
            f"<DescribeAutoScalingGroupsResult><AutoScalingGroups>{groups}</AutoScalingGroups>{token}"
            f"</DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>",
            Content_Type="text/xml",
        )


def group(name, desired):
    """As long as a real group with a launch template, two zones and four tags is."""
    members = "".join(
        f"<member><InstanceId>i-{abs(hash((name, at))):017x}</InstanceId>"
        "<InstanceType>c7i.large</InstanceType><AvailabilityZone>us-east-1a</AvailabilityZone>"
        "<LifecycleState>InService</LifecycleState><HealthStatus>Healthy</HealthStatus>"
        "<ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
        for at in range(desired)
    )
    tags = "".join(
        f"<member><ResourceId>{name}</ResourceId><ResourceType>auto-scaling-group</ResourceType>"
        f"<Key>{key}</Key><Value>{escape(value)}</Value>"
        "<PropagateAtLaunch>true</PropagateAtLaunch></member>"
        for key, value in (("Name", name), ("queue", name), ("team", "ci"), ("stage", "prod"))
    )
    return (
        f"<member><AutoScalingGroupName>{name}</AutoScalingGroupName>"
        "<AutoScalingGroupARN>arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:"
        f"0b6b2a9e-5d9c-4c55-9b3f-5f1e2d3c4b5a:autoScalingGroupName/{name}</AutoScalingGroupARN>"
        "<LaunchTemplate><LaunchTemplateId>lt-0123456789abcdef0</LaunchTemplateId>"
        f"<LaunchTemplateName>{name}</LaunchTemplateName><Version>1</Version></LaunchTemplate>"
        f"<MinSize>0</MinSize><MaxSize>20</MaxSize><DesiredCapacity>{desired}</DesiredCapacity>"
        "<DefaultCooldown>300</DefaultCooldown><AvailabilityZones><member>us-east-1a</member>"
        "<member>us-east-1b</member></AvailabilityZones><HealthCheckType>EC2</HealthCheckType>"
        "<HealthCheckGracePeriod>0</HealthCheckGracePeriod>"
        f"<Instances>{members}</Instances><CreatedTime>2026-01-01T00:00:00Z</CreatedTime>"
        "<SuspendedProcesses><member><ProcessName>AZRebalance</ProcessName>"
        "<SuspensionReason>User suspended</SuspensionReason></member></SuspendedProcesses>"
        "<VPCZoneIdentifier>subnet-0123456789abcdef0,subnet-0123456789abcdef1</VPCZoneIdentifier>"
        f"<Tags>{tags}</Tags><NewInstancesProtectedFromScaleIn>false"
        "</NewInstancesProtectedFromScaleIn></member>"
    )


def configuration(world, directory):
    token = directory / "token"
    token.write_text("bench")
    lines = [f'[poll]\ninterval = "{INTERVAL}s"\nlisten = "127.0.0.1:0"\n']
    for name in world.names:
        lines.append(
            f'[[group]]\nname = "{name}"\n'
            f'source = {{ kind = "buildkite", url = "http://127.0.0.1:{world.queue.server_port}/v3", '
            f'queue = "{name}", token_file = "{token}" }}\n'
            f'target = {{ kind = "asg", name = "{name}", region = "us-east-1" }}\n'
        )
    path = directory / "poll.toml"
    path.write_text("".join(lines))
    return path


def measure(lab, program, groups, quiet, seed):
    """Costs while nothing waits for `quiet` seconds, then the delays of jobs that appear."""
    world = World(f"ci-{at:04}" for at in range(groups))
    config = configuration(world, lab.dir)
    core = str(max(os.sched_getaffinity(0)))
    run = lab.start(
        ["/usr/bin/taskset", "--cpu-list", core, program, "poll", "--config", config],
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{world.cloud.server_port}",
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",
    )
    pid = run.process.pid
    wait(lambda: len(world.fetches) >= 3, "three rounds")
    # Each sample is one whole interval: a tick, and what it brings about.
    began, calls, fetches = time.monotonic(), len(world.calls), len(world.fetches)
    costs = []
    while time.monotonic() - began < quiet:
        before = processor(pid)
        time.sleep(INTERVAL)
        costs.append(1000 * (processor(pid) - before))
    minutes = (time.monotonic() - began) / 60
    quiet_calls = (len(world.calls) - calls) / minutes
    fetched = (len(world.fetches) - fetches) / minutes
    delays = appear(world, seed)
    return Costs(
        groups=groups,
        tick_cpu_ms=sum(costs) / len(costs),
        tick_cpu_ms_most=max(costs),
        resident_kib=resident(pid),
        quiet_calls_a_minute=quiet_calls,
        fetches_a_minute=fetched,
        delays=delays,
    )


def appear(world, seed):
    """From a job appearing to SetDesiredCapacity arriving, seconds, for jobs at random times."""
    chance = random.Random(seed)
    names = set(chance.sample(world.names, min(40, len(world.names))))
    for name in names:
        time.sleep(chance.uniform(0, INTERVAL / 5))
        world.job(name)
    world.wait_raised(names, 4 * INTERVAL)
    return [world.raised[name] - world.appeared[name] for name in names]


def processor(pid):
    """Seconds of processor time so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def wait(holds, what, patience=120):
    until = time.monotonic() + patience
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.05)


def rows(costs):
    """(what, value, goal) of each figure."""
    mean = sum(costs.delays) / len(costs.delays)
    return [
        ("processor time of a tick, ms", f"{costs.tick_cpu_ms:.0f}", "100"),
        ("the most of any tick, ms", f"{costs.tick_cpu_ms_most:.0f}", ""),
        ("most resident, KiB", f"{costs.resident_kib}", "65536"),
        ("Auto Scaling calls a minute while quiet", f"{costs.quiet_calls_a_minute:.1f}", "60"),
        ("queue calls a minute", f"{costs.fetches_a_minute:.1f}", ""),
        ("job to SetDesiredCapacity, mean, s", f"{mean:.2f}", f"{INTERVAL / 2 + 0.05:.2f}"),
        ("job to SetDesiredCapacity, p95, s", f"{percentile(costs.delays, 95):.2f}", ""),
    ]
