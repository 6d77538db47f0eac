"""gre.py REMOTE INSIDE: a GRE tunnel (RFC 2784) to REMOTE by a raw socket and a TUN device `gre`, for kernels without one;
INSIDE is the device's address with a prefix length. Prints a line when it is up.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
HEADER = struct.pack("!HH", 0, 0x0800)

remote, inside = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"gre", IFF_TUN | IFF_NO_PI))
subprocess.run(["ip", "addr", "add", inside, "dev", "gre"], check=True)
subprocess.run(["ip", "link", "set", "gre", "mtu", "1400", "up"], check=True)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)
print("up", flush=True)
while True:
    for ready in select.select([tun, raw], [], [])[0]:
        if ready is raw:
            packet, peer = raw.recvfrom(65536)
            packet = packet[(packet[0] & 15) * 4:]
            if peer[0] == remote and packet[:4] == HEADER:
                os.write(tun, packet[4:])
            continue
        try:
            raw.sendto(HEADER + os.read(tun, 65536), (remote, 0))
        except OSError:
            pass  # refused: the answer to one of the last; what is in the tunnel sends again
