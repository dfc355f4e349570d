#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# boot.sh [OPTION...] TARGET -- COMMAND...: boots a guest, loads adma.ko, runs
# COMMAND in it as root, unloads it, and checks the kernel's log for reports of faults.
#
#   --soft "PARAMETERS"   load the software DMA provider, with these parameters
#   --module "PARAMETERS" of adma.ko
#   --append "WORDS"      to the kernel's command line
#   --no-dma              without any DMA provider
#   --no-module           without adma.ko
#   --free                only COMMAND opens the device, so that DMA channels are taken and released
#   --stuck               pages are expected to stay pinned, and adma.ko to stay loaded
#   --expect-reports      the kernel is expected to report faults
#   --icount              one processor, whose clock counts instructions
#   --timeout SECONDS     for the whole run (600)
#   --out DIRECTORY       for console.log, dmesg.log, output, and what COMMAND
#                         writes to $GUEST_OUT (build/kernel/TARGET/run)
#
# TARGET: amd64-6.1, amd64-6.12 or amd64-newest (the machine's own root file system, over 9p),
# arm64-6.1 or debug (a Debian arm64 root file system; the checkout has the same path as outside).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

soft='' module='' append='' dma=yes load=yes hold=yes stuck='' expect='' icount='' limit=600 out=''
while [ $# -gt 0 ]; do
	case $1 in
	--soft) soft=yes soft_parameters=$2 && shift ;;
	--module) module=$2 && shift ;;
	--append) append=$2 && shift ;;
	--no-dma) dma='' ;;
	--no-module) load='' hold='' ;;
	--free) hold='' ;;
	--stuck) stuck=yes ;;
	--expect-reports) expect=yes ;;
	--icount) icount=yes ;;
	--timeout) limit=$2 && shift ;;
	--out) out=$2 && shift ;;
	--) break ;;
	*) target=$1 ;;
	esac
	shift
done
[ "${1:-}" = -- ] || die "no command; see the head of this file"
shift
out=$(realpath -m "${out:-$build/$target/run}")
rm -rf "$out" && mkdir -p "$out"
modules=$build/$target

case $target in
amd64-*) share=/ transport=virtio_pci ;;
arm64-*) transport=virtio_mmio ;;
*) transport='' ;;
esac
kernel=$(kernel_of "$target")
arch=$(arch_of "$target")
if [ "$arch" = arm64 ]; then
	share=$("$guest/fetch.sh" root-arm64)
	busybox=$("$guest/fetch.sh" arm64-6.1)/bin/busybox
else
	busybox=$kernel/bin/busybox
fi

# ---- the initramfs: busybox, modules, /init ----

initramfs() {
	local tree=$out/initramfs name path
	mkdir -p "$tree"/{bin,proc,sys,dev,lower,upper,new,out,modules}
	cp "$busybox" "$tree/bin/busybox"
	if [ -n "$transport" ]; then
		for name in "$transport" 9pnet_virtio 9p overlay fuse; do
			/sbin/modprobe -d "$kernel" -S "$(cat "$kernel/release")" --show-depends "$name" 2>/dev/null || true
		done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' >"$out/insmod"
		while read -r path; do
			case $path in
			*.xz) xz -dc "$path" >"$tree/modules/$(basename "$path" .xz)" ;;
			*) cp "$path" "$tree/modules/" ;;
			esac
			basename "$path" .xz >>"$tree/modules/order"
		done <"$out/insmod"
		rm "$out/insmod"
	fi
	: >>"$tree/modules/order"
	for path in "$modules"/{module/adma,provider/adma_soft,intree/zynqmp_dma,intree/dmatest,alarm/adma_alarm}.ko; do
		[ ! -e "$path" ] || cp "$path" "$tree/modules/"
	done
	[ "$target" != debug ] || cp "$kernel/lib/test_hmm.ko" "$tree/modules/" 2>/dev/null || true
	init >"$tree/init"
	# /new becomes the root of the mount namespace, because a process in a chroot may not make user namespaces.
	echo 'cd /new && mount -o move . / && exec chroot . /bin/bash /guest-out/command' >"$tree/enter"
	chmod +x "$tree/init"
	(cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initramfs.gz"
	rm -rf "$tree"
}

init() {
	cat <<-INIT
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		while read -r name; do insmod /modules/\$name || echo "init: \$name failed"; done </modules/order
		options=trans=virtio,version=9p2000.L,msize=512000
		mount -t 9p -o \$options,cache=loose,ro root /lower || echo 'init: no root'
		mount -t tmpfs -o size=70% tmpfs /upper
		mkdir /upper/up /upper/work
		mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work overlay /new || echo 'init: no overlay'
		mount -t 9p -o \$options out /out || echo 'init: no way out'
		mkdir -p /new/proc /new/sys /new/dev /new/guest-out
		mount -t proc proc /new/proc
		mount -t sysfs sys /new/sys
		mount -t debugfs debugfs /new/sys/kernel/debug
		mount -t devtmpfs dev /new/dev
		mkdir -p /new/dev/shm /new/dev/pts
		mount -t tmpfs tmpfs /new/dev/shm
		mount -t devpts devpts /new/dev/pts
		mount -t tmpfs tmpfs /new/tmp
		chmod 1777 /new/tmp /new/dev/shm
		mount -t tmpfs tmpfs /new/run
		mount --bind /out /new/guest-out
		$share_checkout
		ip link set lo up || ifconfig lo up
		mount | grep -q /new/guest-out
		${load_dma:-:}
		${load_adma:-:}
		${hold:+exec 9</dev/adma}
		cp /proc/interrupts /out/interrupts-before
		unshare -m /bin/sh /enter >/out/output 2>&1 9<&-
		echo \$? >/out/status
		cp /proc/interrupts /out/interrupts-after
		${unload_adma:-:}
		if [ -e /new/sys/kernel/debug/kmemleak ]; then
			sleep 6
			echo scan >/new/sys/kernel/debug/kmemleak
			sleep 6
			echo scan >/new/sys/kernel/debug/kmemleak
			cat /new/sys/kernel/debug/kmemleak >/dev/kmsg
		fi
		cat /proc/sys/vm/stat_refresh # sums up the counters of all processors
		cp /proc/vmstat /out/vmstat
		dmesg >/out/dmesg.log
		sync
		reboot -f
	INIT
}

# The guest keeps what Python compiles beside the sources, as outside, where much is compiled already. So the
# checkout is written to, which is seen in the guest only. If it is below a directory that the guest has its
# own of, such as /tmp, it is mounted there.
checkout=/lower$root
mount_checkout=''
if [ "$share" != / ]; then
	checkout=/checkout
	# shellcheck disable=SC2016 # expanded in the guest
	mount_checkout='mkdir /checkout && mount -t 9p -o $options,cache=loose,ro checkout /checkout && mount -t tmpfs tmpfs /new/root &&'
fi
share_checkout="[ -e /new$root/Makefile ] || { $mount_checkout
	mkdir -p /new$root /upper/checkout /upper/checkout-work &&
	mount -t overlay -o lowerdir=$checkout,upperdir=/upper/checkout,workdir=/upper/checkout-work overlay /new$root; }"
if [ -n "$dma" ]; then
	[ "$target" != arm64-6.1 ] || load_dma='insmod /modules/zynqmp_dma.ko'
	[ -z "$soft" ] || load_dma="insmod /modules/adma_soft.ko $soft_parameters"
	# In the debug kernel that driver is built in, and its DMA channels would be taken first.
	[ "$soft$target" != yesdebug ] || append+=' initcall_blacklist=zynqmp_dma_driver_init'
fi
if [ -n "$load" ]; then
	# The emulated engine is not known to report errors. The second name is that of the built-in driver.
	[ "$arch" != arm64 ] || module="trust=zynqmp_dma,xilinx-zynqmp-dma $module"
	load_adma="insmod /modules/adma.ko $module || echo failed >/out/insmod"
	# shellcheck disable=SC2016 # expanded in the guest
	unload_adma='for name in summary channels; do cat /new/sys/kernel/debug/adma/$name >/out/$name; done; exec 9<&-; rmmod adma || echo failed >/out/rmmod'
fi

# ---- the command ----

{
	echo 'export GUEST_OUT=/guest-out GUEST_TARGET='"$target"' HOME=/root TERM=dumb LANG=C.UTF-8'
	echo 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
	echo 'export ADMA_EXPECT_HELPER=1 PYTHONDONTWRITEBYTECODE='
	# Times in this guest are not those of hardware. The board of the other guests tells that by itself.
	[ "$share" != / ] || echo "export ADMA_EMULATED='QEMU pc, DMA in software'"
	[ "$share" = / ] || {
		echo "export PYTHONPATH=$build/arm64-lib:/opt/wheels:$root/.venv/lib/python3.11/site-packages"
		echo 'mkdir -p /opt/wheels && mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro wheels /opt/wheels'
	}
	printf 'cd %q\n' "$root"
	printf '%q ' "$@"
	echo
} >"$out/command"

initramfs
if [ "$arch" = amd64 ]; then
	bus=virtio-9p-pci
	qemu=(qemu-system-x86_64 -M pc -cpu Nehalem -m 2G -append "console=ttyS0 panic=-1 quiet mitigations=off $append")
	[ -n "$icount" ] || qemu+=(-smp 2 -accel "tcg,thread=multi")
else
	bus=virtio-9p-device
	qemu=(qemu-system-aarch64 -M xlnx-versal-virt -m 2G -append "console=ttyAMA0 panic=-1 quiet $append")
	[ -n "$icount" ] || qemu+=(-accel "tcg,thread=multi")
fi
[ -z "$icount" ] || qemu+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off")
qemu+=(-kernel "$kernel/vmlinuz" -initrd "$out/initramfs.gz" -nodefaults -no-reboot -nographic -serial stdio)

fs() { # fs TAG PATH [OPTION]: a directory that the guest can mount
	qemu+=(-fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap${3:-}"
		-device "$bus,fsdev=$1,mount_tag=$1")
}

fs root "$share" ,readonly=on
fs out "$out"
if [ "$share" != / ]; then
	wheels=$("$guest/fetch.sh" wheels-arm64)
	fs checkout "$root" ,readonly=on
	fs wheels "$wheels" ,readonly=on
fi

start=$SECONDS
timeout -k 5 "$limit" "${qemu[@]}" >"$out/console.log" 2>&1 </dev/null || true
rm -f "$out/initramfs.gz"

# ---- the verdict ----

verdict=0
cat "$out/output" 2>/dev/null || true
[ -e "$out/status" ] || {
	echo "no exit status came out of the guest; the last lines of its console:"
	tail -n 40 "$out/console.log"
	verdict=1
}
[ "$(cat "$out/status" 2>/dev/null)" = 0 ] || verdict=1
[ ! -e "$out/insmod" ] || { echo "insmod adma failed" && verdict=1; }
[ -e "$out/rmmod" ] && removed='' || removed=yes
if [ -n "$stuck" ] && [ -n "$removed" ]; then
	echo "adma was removed, though an engine may still call it" && verdict=1
elif [ -z "$stuck" ] && [ -z "$removed" ]; then
	echo "rmmod adma failed" && verdict=1
fi
log=$out/dmesg.log
[ -e "$log" ] || log=$out/console.log
reports=$("$guest/reports.sh" "$log") && count=0 || count=$(wc -l <<<"$reports")
if [ "$count" != 0 ] && [ -z "$expect" ]; then
	echo "the kernel reports:"
	echo "$reports" | head -n 60
	verdict=1
fi
pins() { sed -n "s/^nr_foll_pin_$1 //p" "$out/vmstat" 2>/dev/null; }
if [ -z "$stuck" ] && [ "$(pins acquired)" != "$(pins released)" ]; then
	echo "pages pinned: $(pins acquired), released: $(pins released)"
	verdict=1
fi
# What the guest used is less than what it took where others use the processors too.
times >"$out/times"
processor=$(awk -F '[ms ]+' 'NR == 2 { print int($1 * 60 + $2 + $3 * 60 + $4 + 0.5) }' "$out/times")
used=$(awk 'NR > 1 && $7 > 0 { driver = $2; n++ } END { if (n) print driver ", " n " channels used" }' "$out/channels" 2>/dev/null) || true
printf '%s: kernel %s, %s, reports %s, %s, %d s (%d s of processor)\n' "$target" "$(cat "$kernel/release")" \
	"${used:-no DMA used}" "$count" "$([ $verdict = 0 ] && echo passed || echo FAILED)" $((SECONDS - start)) "$processor"
exit $verdict
