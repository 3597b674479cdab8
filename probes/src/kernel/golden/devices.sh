#!/bin/sh
# Makes a veth and a VXLAN device and writes what their drivers say. Needs no rights:
#   cargo build -p mtuscope --example devices
#   unshare -Urnm sh probes/src/kernel/golden/devices.sh target/debug/examples/devices DIRECTORY
set -eu
devices=$1 directory=$2

ip link add enp5s0 type veth peer name wire
ip link set enp5s0 up
ip link set wire up
ip link add vxlan.calico type vxlan id 4096 dstport 4789 dev enp5s0 nolearning
ip link set vxlan.calico up
"$devices" "$directory/software.bin" enp5s0 vxlan.calico
