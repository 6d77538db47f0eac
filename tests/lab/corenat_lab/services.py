"""Services: the servers of `inet` that ordinary programs talk to."""

import random
import socket

from .process import in_netns, tail
from .topology import OUTSIDE_INET, SERVERS

PAGE = "<!doctype html><title>CoreNAT lab</title><p>A page of the Internet.\n"
LARGE_BYTES = 16 << 20   # large.bin: random bytes, for comparing
ENDLESS_BYTES = 4 << 30  # endless.bin: a hole, for downloads that outlast a test
HTTP = SERVERS[:2]
DNS = OUTSIDE_INET
IPERF = SERVERS[2]
IPERF_PORT = 5201
ZONE = "lab.test"
HOSTS = {f"www.{ZONE}": HTTP[0], f"files.{ZONE}": HTTP[1], f"iperf.{ZONE}": IPERF}

NGINX = """\
daemon off;
user nobody nogroup;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
	log_format lab '$remote_addr $remote_port $status $bytes_sent "$request"';
	access_log {dir}/access.log lab;
	client_body_temp_path {dir}/nginx-body;
	proxy_temp_path {dir}/nginx-proxy;
	fastcgi_temp_path {dir}/nginx-fastcgi;
	uwsgi_temp_path {dir}/nginx-uwsgi;
	scgi_temp_path {dir}/nginx-scgi;
	sendfile on;
	keepalive_timeout 30;
	server {{ listen 80; root {dir}/www; }}
}}
"""


def commands(state):
    """Role to (argv, addresses and TCP port that tell when it serves)."""
    run = state.dir
    dns = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
           "--user=nobody", f"--pid-file={run}/dnsmasq.pid", "--log-facility=-", "--cache-size=0",
           f"--local=/{ZONE}/", f"--address=/{ZONE}/{HTTP[0]}"]
    dns += [f"--host-record={name},{address}" for name, address in HOSTS.items()]
    found = {"nginx": (["nginx", "-c", run / "nginx.conf", "-p", run], 80),
             "dnsmasq": (dns, 53)}
    for k in range(1, max(state["options"]["subs"], 4) + 1):
        port = IPERF_PORT + k - 1  # iperf3 serves one test at a time: one server for each subscriber
        found[f"iperf{k}"] = (["iperf3", "-s", "-B", IPERF, "-p", port], port)
    return found


def write_files(state):
    run = state.dir
    www = run / "www"
    www.mkdir()
    (www / "index.html").write_text(PAGE)
    (www / "large.bin").write_bytes(random.Random(1).randbytes(LARGE_BYTES))
    with open(www / "endless.bin", "wb") as f:
        f.truncate(ENDLESS_BYTES)
    (run / "nginx.conf").write_text(NGINX.format(dir=run))


def listening(pid, netns):
    """TCP ports somebody listens on in a namespace, seen through one of its processes."""
    if not in_netns(pid, netns):
        return set()
    try:
        with open(f"/proc/{pid}/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f][1:]
    except OSError:
        return set()
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"}


def serves_nobody(pid, port):
    """Whether the process listens on a port, and has no connection of it any more; seen as listening() does."""
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as f:
        states = {row[3] for row in map(str.split, f) if row[1].endswith(f":{port:04X}")}
    return "0A" in states and not states & {"01", "08"}  # LISTEN; ESTABLISHED, CLOSE_WAIT


def describe():
    return {"http": HTTP, "dns": DNS, "iperf3": f"{IPERF}:{IPERF_PORT}+", "hosts": HOSTS,
            "files": {"/": len(PAGE), "/large.bin": LARGE_BYTES, "/endless.bin": ENDLESS_BYTES}}


def tails(state, roles):
    return "\n".join(f"--- {r}\n{tail(state.dir / (r + '.log'))}" for r in roles)


def host_listener(port=0):
    """A listening socket of the host's namespace on loopback, for a program that lives in another. Without a port, one that
    no connection is ever given: a program that starts anew finds it free again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        given_from = int(f.read().split()[0])
    for candidate in [port] if port else random.sample(range(given_from // 3, given_from), 100):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", candidate))
            s.listen(64)
            return s
        except OSError as e:
            s.close()
            why = e
    raise why
