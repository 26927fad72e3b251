#!/bin/sh
# as_user.sh KIND COMMAND...: runs a command as a user without privileges; KIND is
#   subids   with a range of 65536 ids in /etc/subuid and /etc/subgid
#   single   without one
#   inside   root of a user namespace that has these ids, as in a rootless container
#   v2       root on a machine that has nothing but cgroup v2
# Called by root this makes such a user, in a mount namespace of the command's own: the machine's files stay as they are.
# Called by somebody else the command is run as it is.
set -eu
kind=$1
shift
[ "$(id -u)" = 0 ] || exec "$@"
if [ "${CONDROID_AS_USER:-}" != prepared ]; then
  CONDROID_AS_USER=prepared exec unshare --mount --propagation private "$0" "$kind" "$@"
fi
unset CONDROID_AS_USER XDG_RUNTIME_DIR
if [ "$kind" = v2 ]; then
  # In the mount namespace that is ours alone.
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec "$@"
fi
uid=61234
files=$(mktemp -d)
sed "\$a condroid-test:x:$uid:$uid::/tmp:/bin/sh" /etc/passwd > "$files/passwd"
sed "\$a condroid-test:x:$uid:" /etc/group > "$files/group"
: > "$files/subuid"
[ "$kind" = single ] || printf '%s:600000:65536\n' condroid-test root > "$files/subuid"
for name in passwd group subuid; do
  mount --bind "$files/$name" "/etc/$name"
done
mount --bind "$files/subuid" /etc/subgid
chmod 644 "$files"/*
rm -r "$files"
if [ "$kind" = inside ]; then
  # The uid map is written from outside, as root may.
  exec unshare --user --map-users=600000,0,65536 --map-groups=600000,0,65536 --setuid 0 --setgid 0 "$@"
fi
if ! setpriv --reuid=$uid --regid=$uid --clear-groups test -r "$1" && command -v "$1" > /dev/null; then
  echo "as_user.sh: '$1' cannot be read by others: use a build directory that everybody can reach" >&2
  exit 1
fi
exec setpriv --reuid=$uid --regid=$uid --clear-groups --inh-caps=-all "$@"
