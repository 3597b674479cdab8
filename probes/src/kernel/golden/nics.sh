#!/bin/sh
# Writes what the drivers of a virtual machine's NICs say: virtio_net and vmxnet3. Runs as root inside `vm.sh`.
set -eu
devices=$1 directory=$2
# busybox has an `ip` of its own, which its shell prefers.
ip() { /bin/ip "$@"; }

until ip link show dev eth0 >/dev/null 2>&1; do :; done
modprobe vmxnet3
until ip link show dev eth3 >/dev/null 2>&1; do :; done
for link in eth0 eth3; do ip link set dev $link up; done
ip link add vxlan.calico type vxlan id 4096 dstport 4789 dev eth0 nolearning
ip link set vxlan.calico up
"$devices" "$directory/virtual.bin" eth0 eth3 vxlan.calico
