#!/bin/sh
# selinux.sh POLICY COMMAND...: runs the command under that policy, on a machine that was started with SELinux and has none
# yet: security=selinux.
set -eu
policy=$1
shift
mount -t selinuxfs none /sys/fs/selinux
cat "$policy" > /sys/fs/selinux/load
echo 1 > /sys/fs/selinux/enforce
exec "$@"
