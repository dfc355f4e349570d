# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154 # cache and made are lib.sh's
# Downloads and unpacks packages of Debian of any architecture, without installing
# them. Each architecture and suite has package lists and a status of its own, so that
# the machine's are not touched and no root is needed.
#
# SUITE: main (Debian 12), backports (Debian 12 with its backports), or newest (the next Debian
# with its backports, which have the newest kernel that Debian builds for a stable system).

# apt_sources ARCH SUITE: the machine's own sources, so that its mirrors are used.
apt_sources() {
	local arch=$1 suite=$2 site release component
	# shellcheck disable=SC2016 # names for apt-get
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		sort -u | while read -r site release component; do
		case $suite.$release in
		newest.bookworm)
			echo "deb [arch=$arch] $site trixie $component"
			echo "deb [arch=$arch] $site trixie-backports $component"
			;;
		*.bookworm)
			echo "deb [arch=$arch] $site bookworm $component"
			[ "$suite" != backports ] || echo "deb [arch=$arch] $site bookworm-backports $component"
			;;
		newest.*) ;;
		*.bookworm-security | *.bookworm-updates) echo "deb [arch=$arch] $site $release $component" ;;
		esac
	done | sort -u
}

# apt_use ARCH SUITE: apt-get and apt-cache work on these from here on.
apt_use() {
	local arch=$1 suite=$2 home=$cache/apt/$1-$2
	mkdir -p "$home"/{lists,archives}/partial
	: >>"$home/status"
	unset APT_CONFIG
	apt_sources "$@" >"$home/sources.list"
	[ -s "$home/sources.list" ] || die "this machine has no package sources of Debian 12 (bookworm)"
	cat >"$home/apt.conf" <<-CONF
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::State "$home";
		Dir::State::lists "$home/lists";
		Dir::State::status "$home/status";
		Dir::Cache "$home";
		Dir::Etc::sourcelist "$home/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::Log "$home";
	CONF
	[ "$suite" != newest ] || echo 'APT::Default-Release "trixie-backports";' >>"$home/apt.conf"
	export APT_CONFIG=$home/apt.conf
	if [ -z "$(find "$home/lists" -maxdepth 1 -name '*Packages*' -mmin -60 -print -quit)" ]; then
		apt-get -qq update >&2
		touch "$home/lists/"*Packages*
	fi
}

# release_of META: the kernel release that a metapackage stands for, such as 6.1.0-56-amd64.
release_of() {
	apt-cache depends "$1" | sed -n 's/.*Depends: linux-\(image\|headers\)-//p' | head -n 1
}

version_of() {
	apt-cache policy "$1" | sed -n 's/ *Candidate: //p'
}

unpack_debs() { # DIRECTORY-OF-PACKAGES DIRECTORY
	local deb
	for deb in "$1"/*.deb; do
		dpkg -x "$deb" "$2"
	done
	rm -rf "$1"
}

# unpack DIRECTORY PACKAGE...
unpack() {
	local directory=$1 downloads=$1.debs
	shift
	rm -rf "$downloads"
	mkdir "$downloads"
	(cd "$downloads" && apt-get -qq download "$@" >&2)
	unpack_debs "$downloads" "$directory"
}

# unpack_whole DIRECTORY PACKAGE...: with all packages that they depend on.
unpack_whole() {
	local directory=$1 downloads=$1.debs
	shift
	rm -rf "$downloads"
	mkdir -p "$downloads/partial"
	apt-get -qq -y --download-only -o Dir::Cache::archives="$downloads" install "$@" </dev/null >&2
	unpack_debs "$downloads" "$directory"
}
