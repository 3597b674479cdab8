#!/bin/sh
# Makes one machine after the other, each in a network namespace of its own, and dumps it. Runs as root inside `vm.sh`.
set -eu
capture=$1 directory=$2
# busybox has an `ip` of its own, which its shell prefers.
ip() { /bin/ip "$@"; }
echo 1 >/proc/sys/net/ipv6/conf/all/addr_gen_mode
echo 1 >/proc/sys/net/ipv6/conf/default/addr_gen_mode

# No tunl0, gre0 and the like in every machine.
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net

machine() {
  name=$1
  ip netns add "$name"
  ip -n "$name" link set lo up
}
# NIC MTU: one of the three NICs moves in. It is hardware to the kernel, and comes back when its machine goes.
nic() {
  until ip link show dev "$1" >/dev/null 2>&1; do :; done
  ip link set dev "$1" netns "$name"
  on link set "$1" mtu "$2"
}
on() { ip -n "$name" "$@"; }
entry() { bridge -n "$name" fdb append "$@"; }
dump() {
  ip netns exec "$name" "$capture" "$directory/$name.bin" "$@"
  ip netns delete "$name"
}

# 802.3ad: VXLAN on bond0.100 on bond0 on eth1 and eth2; eth0 is management.
machine bonded
nic eth0 1500; nic eth1 9000; nic eth2 9000
on link set eth0 up
on address add 192.168.0.11/24 dev eth0
on link add bond0 mtu 9000 type bond mode 802.3ad
on link set eth1 master bond0
on link set eth2 master bond0
on link set bond0 up
on link add link bond0 name bond0.100 type vlan id 100
on link set bond0.100 up
on address add 10.0.0.11/24 dev bond0.100
on route add default via 192.168.0.1 dev eth0
on link add vxlan.calico address 66:00:00:00:00:01 mtu 8950 type vxlan id 4096 dstport 4789 local 10.0.0.11 dev bond0.100 nolearning
on link set vxlan.calico up
on address add 10.244.1.0/32 dev vxlan.calico
on neigh add 10.244.2.0 lladdr 66:00:00:00:00:02 dev vxlan.calico nud permanent
entry 66:00:00:00:00:02 dev vxlan.calico dst 10.0.0.12 self permanent
on route add 10.244.2.0/26 via 10.244.2.0 dev vxlan.calico onlink proto 80
dump 10.0.0.12 10.0.0.12@10.0.0.11 10.244.2.0

# A bridge that filters VLANs, with a VLAN of a NIC, a second NIC and a guest's tap on it; macvlan and ipvlan beside.
machine bridged
nic eth0 1500; nic eth1 1500; nic eth2 1500
on link set eth0 up
on link set eth1 up
on link add link eth0 name eth0.7 type vlan id 7
on link add br0 address 02:00:00:00:00:20 type bridge vlan_filtering 1
on link set eth0.7 master br0
on link set eth1 master br0
on link set eth0.7 up
on link set br0 up
on tuntap add tap100i0 mode tap
on link set tap100i0 master br0
on address add 10.0.0.11/24 dev br0
on link add link eth0 name mac0 address 02:00:00:00:00:22 type macvlan mode bridge
on link add link eth2 name ipv0 type ipvlan mode l2
on link set eth2 up
on link set mac0 up
on link set ipv0 up
on address add 10.7.0.11/24 dev mac0
on address add 10.8.0.11/24 dev ipv0
dump 10.0.0.12 10.7.0.12 10.8.0.12

# team0, active-backup, under a bridge.
machine teamed
nic eth1 1500; nic eth2 1500
on link add team0 address 02:00:00:00:00:11 type team
on link set eth1 master team0
on link set eth2 master team0
on link set team0 up
on link add vmbr1 type bridge
on link set team0 master vmbr1
on link set vmbr1 up
on address add 10.0.0.11/24 dev vmbr1
dump 10.0.0.12

# Tunnels of every kind. tunl0 as Calico has it, with a peer behind it; the others with far ends of their own.
echo 0 >/proc/sys/net/core/fb_tunnels_only_for_init_net
machine tunnels
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
on address add fd00::11/64 dev eth0 nodad
on link set tunl0 mtu 1480 up
on address add 10.244.1.0/32 dev tunl0
on route add 10.244.2.0/26 via 10.0.0.12 dev tunl0 onlink proto bird
on link add gre1 type gre local 10.0.0.11 remote 10.0.0.13 key 7 dev eth0
on link add gretap1 address 66:00:00:00:00:41 type gretap local 10.0.0.11 remote 10.0.0.14
on link add sit1 type sit local 10.0.0.11 remote 10.0.0.15
on link add wireguard.cali mtu 1440 type wireguard
on link add geneve1 address 66:00:00:00:00:42 type geneve id 9 remote 10.0.0.16 dstport 6083
on link add genev_sys_6081 address 66:00:00:00:00:43 type geneve external
on link add cilium_vxlan address 66:00:00:00:00:44 type vxlan external dstport 8472
on link add vxlan6 address 66:00:00:00:00:45 type vxlan id 7 dstport 4789 local fd00::11 dev eth0 nolearning
entry 00:00:00:00:00:00 dev vxlan6 dst fd00::12 self permanent
for link in gre1 gretap1 sit1 wireguard.cali geneve1 genev_sys_6081 cilium_vxlan vxlan6; do on link set $link up; done
for end in 12 13 14 15 16; do ends="${ends:-} 10.0.0.$end 10.0.0.$end@10.0.0.11"; done
dump $ends fd00::12 fd00::12@fd00::11

# Two NICs, the cluster's routes in a table that only its own address is sent to. Management has the default route.
machine policy
nic eth0 1500; nic eth1 9000
on link set eth0 up
on link set eth1 up
on address add 192.168.0.11/24 dev eth0
on address add 10.0.1.11/24 dev eth1
on route add default via 192.168.0.1 dev eth0
on route add default via 10.0.1.1 dev eth1 table 100
on rule add from 10.0.1.11 lookup 100
on link add vxlan.calico address 66:00:00:00:00:01 mtu 8950 type vxlan id 4096 dstport 4789 local 10.0.1.11 nolearning
on link set vxlan.calico up
on address add 10.244.1.0/32 dev vxlan.calico
on neigh add 10.244.2.0 lladdr 66:00:00:00:00:02 dev vxlan.calico nud permanent
entry 66:00:00:00:00:02 dev vxlan.calico dst 10.0.2.12 self permanent
on route add 10.244.2.0/26 via 10.244.2.0 dev vxlan.calico onlink proto 80
dump 10.0.2.12 10.0.2.12@10.0.1.11 10.244.2.0

# Equal-cost routes over two NICs of different MTU, and a management NIC in a VRF.
machine spread
nic eth0 1500; nic eth1 1500; nic eth2 1400
on link add mgmt type vrf table 10
on link set mgmt up
on link set eth0 master mgmt
for link in eth0 eth1 eth2; do on link set $link up; done
on address add 192.168.0.11/24 dev eth0
on address add 10.1.0.11/24 dev eth1
on address add 10.2.0.11/24 dev eth2
on address add 10.0.0.11/32 dev lo
on route add 10.0.0.12 src 10.0.0.11 nexthop via 10.1.0.1 dev eth1 nexthop via 10.2.0.1 dev eth2
on link add flannel.1 address 66:00:00:00:00:01 mtu 1450 type vxlan id 1 dstport 8472 local 10.0.0.11 nolearning
on link set flannel.1 up
on address add 10.42.1.0/32 dev flannel.1
on neigh add 10.42.2.0 lladdr 66:00:00:00:00:02 dev flannel.1 nud permanent
entry 66:00:00:00:00:02 dev flannel.1 dst 10.0.0.12 self permanent
on route add 10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink
dump 10.0.0.12@10.0.0.11 10.42.2.0
