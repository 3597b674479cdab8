#!/bin/sh
# Makes a host that a router advertises itself to and dumps it. Needs no rights:
#   cargo build -p mtuscope --example capture
#   unshare -Urnm sh probes/src/kernel/golden/advertised.sh target/debug/examples/capture DIRECTORY
set -eu
capture=$1 directory=$2

ip link set lo up
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0
unshare -n sleep 60 &
router=$!
while [ "$(readlink /proc/$router/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
at_router() { nsenter -t $router -n "$@"; }

ip link add eth0 address 02:00:00:00:05:01 type veth peer name wire address 02:00:00:00:05:02 netns $router
at_router ip link set wire up
sysctl -qw net.ipv6.conf.eth0.accept_ra=2
ip link set eth0 up
# Settings that a link dump shows: a link that forwards whatever `all` says, and one too narrow for IPv6.
ip link add forced type veth peer name without mtu 1000
sysctl -qw net.ipv6.conf.forced.force_forwarding=1
sysctl -qw net.ipv6.conf.all.forwarding=1

# The kernel notes an answer only to a question, which it asks on its own a moment after the link came up.
advertise() {
    at_router python3 - "$1" <<'PYTHON'
import socket, struct, sys
out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, int(sys.argv[1]), 0, 0)
message += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 1800, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:9::"))
out.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("wire")))
PYTHON
}
sleep 6
advertise 1800
until ip -6 route show default | grep -q 'proto ra'; do :; done

"$capture" "$directory"
kill $router
