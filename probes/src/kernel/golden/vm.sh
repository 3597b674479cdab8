#!/bin/sh
# Boots a kernel that has every device kind, makes the machines of `machines.sh` in it and fetches their dumps; or runs
# another script with another program, on as many processors (VM_CPUS) and with more devices (VM_MORE).
# Wants qemu-system-x86, busybox-static, cpio, iproute2, ovs-dpctl in the path, and no rights at all:
#   cargo build -p mtuscope --example machine
#   apt-get download linux-image-VERSION-amd64 && dpkg -x linux-image-*.deb KERNEL
#   sh probes/src/kernel/golden/vm.sh KERNEL target/debug/examples/machine DIRECTORY [SCRIPT]
set -eu
kernel=$(realpath "$1") machine=$2 directory=$3
script=${4:-$(dirname "$0")/machines.sh}
root=$(mktemp -d)
trap 'rm -rf "$root" "$root.cpio" "$root.tar"' EXIT
modules="virtio_pci virtio_net tun 8021q bonding ipip ip_gre sit wireguard geneve vxlan macvlan ipvlan vrf dummy bridge veth team team_mode_activebackup"

# What the guest runs: busybox, iproute2 and `machine` with their libraries, and the modules.
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$script" "$root/init.machines"
cp "$machine" "$root/bin/program"
mkdir "$root/lib" "$root/lib64"
for program in "$(command -v ip)" "$(command -v bridge)" "$(command -v ovs-dpctl)" "$machine"; do
  [ "$program" = "$machine" ] || cp "$program" "$root/bin/"
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    case $library in /lib64/*) folder=lib64 ;; *) folder=lib ;; esac
    cp -L "$library" "$root/$folder/"
  done
done
release=$(ls "$kernel/lib/modules")
cp -r --parents "$kernel/lib/modules/$release/kernel/net" "$kernel/lib/modules/$release/kernel/drivers/net" \
  "$kernel/lib/modules/$release/kernel/drivers/virtio" \
  "$kernel/lib/modules/$release/kernel/lib" "$kernel/lib/modules/$release/kernel/crypto" \
  "$kernel/lib/modules/$release/kernel/arch/x86/crypto" "$root"
mkdir -p "$root/lib/modules"
mv "$root$kernel/lib/modules/$release" "$root/lib/modules/"
find "$root/lib/modules" -path '*/drivers/net/*' \( -path '*/ethernet/*' -o -path '*/wireless/*' \) -delete
cp "$kernel/lib/modules/$release"/modules.* "$root/lib/modules/$release/"
busybox depmod -b "$root" "$release"

cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
for module in $modules; do modprobe \$module || echo "no \$module"; done
mkdir /tmp/machines
sh /init.machines /bin/program /tmp/machines && echo done
stty -F /dev/ttyS1 raw
tar -C /tmp/machines -c . >/dev/ttyS1
poweroff -f
INIT
chmod +x "$root/init"
ln -s busybox "$root/bin/sh"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$root.cpio"
nics=
for nic in 0 1 2; do
  nics="$nics -netdev hubport,id=n$nic,hubid=$nic -device virtio-net-pci,romfile=,netdev=n$nic,mac=02:00:00:00:00:1$nic"
done
timeout 300 qemu-system-x86_64 -accel "${VM_ACCEL:-tcg}" -smp "${VM_CPUS:-1}" -m 1024 $nics ${VM_MORE:-} -nographic -no-reboot \
  -kernel "$kernel/boot/vmlinuz-$release" -initrd "$root.cpio" -append "console=ttyS0 quiet panic=-1 net.ifnames=0" \
  -serial stdio -serial "file:$root.tar" -monitor none </dev/null
mkdir -p "$directory"
tar -C "$directory" -xf "$root.tar"
ls -l "$directory"
