#!/bin/sh
# The first process inside user-mode Linux. The root file system is the host's own, by hostfs: what is written
# goes there for real, but for /run. HAHA_UML is the folder of this run; see machine.py.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
: >"$HAHA_UML/started"
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
# The modules are not where modprobe looks for them, so the kernel cannot load any by itself.
echo >/proc/sys/kernel/modprobe
mkdir -p /run/netns /run/modules/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" "/run/modules/lib/modules/$(uname -r)"
modprobe -d /run/modules -a $(cat "$HAHA_UML/modules") 2>"$HAHA_UML/modprobe"
ip link set lo up
stty -F /dev/ttyS0 raw
stty -F /dev/ttyS1 raw
sh "$HAHA_UML/command" </dev/null >/dev/ttyS0 2>/dev/ttyS1
echo $? >"$HAHA_UML/status"
sync
halt -f
