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

# What else there is: tunnels over IPv6, with options that cost bytes, in collect-metadata mode, and of kinds whose overhead
# nothing tells. Where the kernel chooses an MTU it is left as it is. Loaded only now, so that their fallback devices are
# in no machine but this.
for module in ip6_tunnel ip6_gre ip_vti ip6_vti xfrm_interface fou fou6; do modprobe $module; done
echo 0 >/proc/sys/net/core/fb_tunnels_only_for_init_net
machine wrapped
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
on address add fd00::11/64 dev eth0 nodad
here="local 10.0.0.11" here6="local fd00::11"
on link add gre2 type gre $here remote 10.0.0.12 key 7 ocsum oseq
on link add gretap2 address 66:00:00:00:00:51 type gretap $here remote 10.0.0.12 key 9
on link add tun-fou type ipip $here remote 10.0.0.12 encap fou encap-sport auto encap-dport 5555
on link add tun-gue type ipip $here remote 10.0.0.13 encap gue encap-sport auto encap-dport 5556
on link add sit2 type sit $here remote 10.0.0.12 encap fou encap-sport auto encap-dport 5555
on link add ip4in6 type ip6tnl mode ipip6 $here6 remote fd00::12
on link add ip6in6 type ip6tnl mode ip6ip6 $here6 remote fd00::13 encaplimit none dev eth0
on link add ip6gre1 type ip6gre $here6 remote fd00::12
on link add ip6gre2 type ip6gre $here6 remote fd00::12 key 8 encaplimit none
on link add ip6gretap1 address 66:00:00:00:00:52 type ip6gretap $here6 remote fd00::12
on link add geneve6 address 66:00:00:00:00:53 type geneve id 9 remote fd00::12
on link add cilium_ipip4 type ipip external
on link add cilium_ipip6 type ip6tnl external
on link add gre_sys address 66:00:00:00:00:54 type gretap external
on link add ip6gre_sys address 66:00:00:00:00:55 type ip6gretap external
on link add gpe0 type vxlan external gpe dstport 4790
on link add erspan1 address 66:00:00:00:00:56 type erspan $here remote 10.0.0.12 seq key 3 erspan_ver 1 erspan 1
on link add erspan6 address 66:00:00:00:00:57 type ip6erspan $here6 remote fd00::12 seq key 4 erspan_ver 1 erspan 1
on link add vti1 type vti $here remote 10.0.0.12 key 5
on link add vti6 type vti6 $here6 remote fd00::12 key 6
on link add ipsec0 type xfrm dev eth0 if_id 7
for link in gre2 gretap2 tun-fou tun-gue sit2 ip4in6 ip6in6 ip6gre1 ip6gre2 ip6gretap1 geneve6 cilium_ipip4 cilium_ipip6 \
  gre_sys ip6gre_sys gpe0 erspan1 erspan6 vti1 vti6 ipsec0; do on link set $link up; done
ends=
for end in 10.0.0.12 10.0.0.13; do ends="$ends $end $end@10.0.0.11"; done
for end in fd00::12 fd00::13; do ends="$ends $end $end@fd00::11"; done
dump $ends

# WireGuard as each CNI has it, on nodes of both families, and an administrator's beside.
machine wireguards
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
on address add fd00::11/64 dev eth0 nodad
for link in wireguard.cali wg-v6.cali flannel-wg flannel-wg-v6 cilium_wg0 kilo0 wg0; do
  on link add $link type wireguard
  on link set $link up
done
on address add 10.9.0.11/24 dev wg0
dump 10.0.0.12 fd00::12

# Nodes that reach each other by WireGuard alone, and Calico's VXLAN through it.
machine nested
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
on link add wg0 type wireguard
on link set wg0 up
on address add 10.9.0.11/24 dev wg0
on link add vxlan.calico address 66:00:00:00:00:01 mtu 1370 type vxlan id 4096 dstport 4789 local 10.9.0.11 nolearning
on link set vxlan.calico up
on address add 10.244.1.0/32 dev vxlan.calico
on neigh add 10.244.2.0 lladdr 66:00:00:00:00:02 dev vxlan.calico nud permanent
entry 66:00:00:00:00:02 dev vxlan.calico dst 10.9.0.12 self permanent
on route add 10.244.2.0/26 via 10.244.2.0 dev vxlan.calico onlink proto 80
dump 10.9.0.12 10.9.0.12@10.9.0.11 10.244.2.0

# Weave Net: pods on a bridge that is wired to a datapath, out of which a VXLAN port leads.
modprobe crc32c_generic
modprobe openvswitch
ovs() { ip netns exec "$name" ovs-dpctl "$@"; }
ip netns add pods
machine weave
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
ovs add-dp datapath
on link add vxlan-6784 address 66:00:00:00:00:61 mtu 65485 type vxlan external dstport 6784 nolearning udp6zerocsumrx
ovs add-if datapath vxlan-6784
on link set datapath mtu 1376
on link add weave address 02:00:00:00:00:61 mtu 1376 type bridge
on link add vethwe-bridge address 02:00:00:00:00:62 mtu 1376 type veth peer name vethwe-datapath address 02:00:00:00:00:63 mtu 1376
on link set vethwe-bridge master weave
ovs add-if datapath vethwe-datapath
on link add vethwepl1a2b3c4 address 02:00:00:00:00:64 mtu 1376 type veth peer name weth1 address 02:00:00:00:00:65 mtu 1376 netns pods
ip -n pods link set weth1 up
on link set vethwepl1a2b3c4 master weave
for link in datapath vxlan-6784 weave vethwe-bridge vethwe-datapath vethwepl1a2b3c4; do on link set $link up; done
on address add 10.32.0.1/12 dev weave
dump 10.0.0.12

# Antrea: its gateway, the tunnel and the pods are ports of one datapath. Open vSwitch makes the tunnel's device itself.
machine antrea
nic eth0 1500
on link set eth0 up
on address add 10.0.0.11/24 dev eth0
ovs add-dp ovs-system
ovs add-if ovs-system genev_sys_6081,type=geneve,remote_ip=flow,key=flow
ovs add-if ovs-system antrea-gw0,type=internal
on link add coredns--6f3a1b address 02:00:00:00:00:71 mtu 1450 type veth peer name peth1 address 02:00:00:00:00:72 mtu 1450 netns pods
ip -n pods link set peth1 up
ovs add-if ovs-system coredns--6f3a1b
on link set antrea-gw0 mtu 1450
for link in antrea-gw0 coredns--6f3a1b; do on link set $link up; done
on address add 10.10.1.1/24 dev antrea-gw0
on route add 10.10.2.0/24 via 10.10.2.1 dev antrea-gw0 onlink
dump 10.0.0.12
