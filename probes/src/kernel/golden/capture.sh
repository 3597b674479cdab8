#!/bin/sh
# Makes the network that the golden files show and dumps it. Needs no rights:
#   cargo build -p mtuscope --example capture
#   unshare -Urnm sh probes/src/kernel/golden/capture.sh target/debug/examples/capture DIRECTORY
set -eu
capture=$1 directory=$2

ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
sysctl -qw net.ipv6.conf.all.addr_gen_mode=1 net.ipv6.conf.default.addr_gen_mode=1

# The node: enp5s0 under vmbr1, and an unused NIC that is down.
ip link add enp5s0 address 02:00:00:00:05:01 type veth peer name wire address 02:00:00:00:05:02
ip link add vmbr1 address 02:00:00:00:01:01 type bridge
ip link set enp5s0 master vmbr1
ip link set enp5s0 up
ip link set vmbr1 up
ip address add 10.0.0.11/24 dev vmbr1
ip address add fd00::11/64 dev vmbr1 nodad
ip link add enp4s0 address 02:00:00:00:04:01 type veth peer name spare address 02:00:00:00:04:02

# The router at the far end of the wire, in a namespace of its own.
unshare -n sleep 60 &
router=$!
while [ "$(readlink /proc/$router/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set wire netns $router
at_router() { nsenter -t $router -n "$@"; }
at_router ip link set wire up
at_router ip address add 10.0.0.1/24 dev wire
at_router ip link add far mtu 1400 type veth peer name end mtu 1400
at_router ip link set far up
at_router ip link set end up
at_router ip address add 10.9.0.1/24 dev far
at_router ip neigh add 10.9.0.9 lladdr 02:00:00:00:09:09 dev far nud permanent
at_router sysctl -qw net.ipv4.ip_forward=1

# A pod, as Calico has it.
unshare -n sleep 60 &
pod=$!
while [ "$(readlink /proc/$pod/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add cali1 address ee:ee:ee:ee:ee:ee mtu 1450 type veth peer name eth0 netns $pod
ip link set cali1 up
sysctl -qw net.ipv4.conf.cali1.proxy_arp=1 net.ipv4.conf.cali1.rp_filter=1
ip route add 10.244.1.2 dev cali1 scope link

# Calico's tunnel, with the entries for two other nodes.
ip link add vxlan.calico address 66:00:00:00:00:01 mtu 1450 type vxlan id 4096 dstport 4789 local 10.0.0.11 dev vmbr1 nolearning
ip link set vxlan.calico up
ip address add 10.244.1.0/32 dev vxlan.calico
for node in 2 3; do
  ip neigh add 10.244.$node.0 lladdr 66:00:00:00:00:0$node dev vxlan.calico nud permanent
  bridge fdb add 66:00:00:00:00:0$node dev vxlan.calico dst 10.0.0.1$node self permanent
done
ip route add 10.244.2.0/26 via 10.244.2.0 dev vxlan.calico onlink proto 80
ip route add 10.244.3.0/26 via 10.244.3.0 dev vxlan.calico onlink proto 80 mtu 1400
ip route add blackhole 10.244.1.0/26 proto 80

# Other tunnels of the kind that the kernel below has.
ip link add vxlan6 address 66:00:00:00:06:01 type vxlan id 7 dstport 8472 local fd00::11 remote fd00::12 df set dev vmbr1
ip link set vxlan6 up
bridge fdb append 00:00:00:00:00:00 dev vxlan6 dst fd00::13 self permanent
ip link add external0 address 66:00:00:00:08:01 mtu 1500 type vxlan external dstport 4790 df inherit

# Routes of every form.
ip route add default via 10.0.0.1 dev vmbr1 proto static metric 100 src 10.0.0.11
ip route add 10.20.0.0/16 nexthop via 10.0.0.12 dev vmbr1 nexthop via 10.0.0.13 dev vmbr1
ip route add 10.21.0.0/16 via inet6 fd00::12 dev vmbr1
ip route add 10.22.0.0/16 via 10.0.0.12 mtu lock 1300 table 300
ip route add prohibit 10.23.0.0/16
ip route add unreachable 10.24.0.0/16
ip nexthop add id 5 via 10.0.0.12 dev vmbr1
ip route add 10.25.0.0/16 nhid 5
ip -6 route add fd00:1::/64 via fd00::12 dev vmbr1 mtu 1380
ip -6 route add blackhole fd00:2::/64

# Neighbours in several states, a bridge entry, and a cached path MTU.
ip neigh add 10.0.0.77 lladdr 02:00:00:00:77:77 dev vmbr1 nud stale extern_learn
ip neigh add fd00::12 lladdr 02:00:00:00:12:12 dev vmbr1 nud permanent
ip neigh add 10.0.0.99 dev vmbr1 nud failed
bridge fdb add 02:00:00:00:05:99 dev enp5s0 master static
ping -c 1 -W 2 -M do -s 1472 10.9.0.9 >/dev/null || true
# The kernel lists a cached path MTU only once something has looked the route up since it was learned.
ip route get 10.9.0.9 >/dev/null

"$capture" "$directory" 10.0.0.12 10.244.2.7 10.244.3.7 10.9.0.9 10.20.1.1 10.21.1.1 8.8.8.8 fd00:1::1 10.0.0.11 10.244.1.9 10.23.0.1

# The pod at work: its end was born larger than the node's. Of this only the pods' ends and the links are kept.
at_pod() { nsenter -t $pod -n "$@"; }
at_pod ip link set eth0 up
at_pod ip address add 10.244.1.2/32 dev eth0
at_pod ip address add fd00:244::2/128 dev eth0 nodad
mkdir -p "$directory/pods"
"$capture" "$directory/pods"
find "$directory/pods" -type f ! -name links.bin ! -name pod_ends.bin -delete
rm "$directory/pod_ends.bin"
kill $router $pod
