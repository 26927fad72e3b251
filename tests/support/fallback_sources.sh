#!/bin/sh
# fallback_sources.sh SOURCE_TREE: puts fmt and tl::expected where their wrap files do, in subprojects/ of a copy of the source
# tree. Where GitHub cannot be reached, the same comes from Debian: fmt from its source package, tl::expected's one header from
# libexpected-dev. Then the versions are Debian's, and what is tried is that they build with our build files.
set -eu
tree=$(cd "$1" && pwd)
# wrapped FIELD NAME: what a wrap file says.
wrapped() { sed -n "s/^$1 = //p" "$tree/subprojects/$2.wrap"; }
if python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=10)' "$(wrapped source_url fmt)" 2> /dev/null; then
  exec meson subprojects download --sourcedir "$tree" fmt tl-expected
fi
echo 'GitHub cannot be reached: Debian'"'"'s sources in place of those of the wrap files'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src [signed-by=$key] http://deb.debian.org/debian $suite main" > sources.list
mkdir -p lists/partial
apt="apt-get -qq -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$work/lists
  -o APT::Sandbox::User=$(id -un)"
$apt update
$apt --download-only source fmtlib
mkdir fmt
tar -xf fmtlib_*.orig.tar.* -C fmt --strip-components 1

fmt=$tree/subprojects/$(wrapped directory fmt)
expected=$tree/subprojects/$(wrapped directory tl-expected)
rm -rf "$fmt" "$expected"
mkdir -p "$fmt" "$expected/include/tl"
cp -R fmt/include fmt/src "$tree/subprojects/packagefiles/fmt/." "$fmt"
cp -R /usr/include/tl/expected.hpp "$expected/include/tl"
cp -R "$tree/subprojects/packagefiles/tl-expected/." "$expected"
