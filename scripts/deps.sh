#!/bin/bash
# Installs what building, testing and the demonstration need. Says first what and how big; does nothing that is done.
#   scripts/deps.sh [--check] [--demo]   --check: only say what is missing, exit code 1 if something is
#                                        --demo: without the parts that only tests use
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/lib.sh

# Debian 12 packages, each with the version that it must begin with. The distribution's point releases may move the rest.
PACKAGES="
gcc=4:12 g++=4:12 meson=1.0 ninja-build=1.11 pkg-config=1.8 python3=3.11 git=1:2.39
dpdk=22.11 libdpdk-dev=22.11 libhyperscan-dev=5.4 libpcre2-dev=10.42 liburing-dev=2.3 libseccomp-dev=2.5 librdkafka-dev=2.0 libjemalloc-dev=5.3
libcmocka-dev=1.1 libyaml-dev=0.2 libjansson-dev=2.14 libmaxminddb-dev=1.7 libhttp-parser-dev=2.9 libsimdjson-dev=3.0 libpcap-dev=1.10
libsodium-dev=1.0 libcurl4-openssl-dev=7.88 libssl-dev=3.0 zlib1g-dev=1:1.2 libzstd-dev=1.5 liblz4-dev=1.9 libsasl2-dev=2.1 make=4.3 prometheus-alertmanager=0.25
clang=1:14 libclang-rt-14-dev=1:14 clang-tidy=1:14 clang-format=1:14
kcat=1.7 jq=1.6 curl=7.88 iproute2=6.1 ethtool=1:6.1 procps=2:4.0 tcpdump=4.99 libestr0=0.1 libfastjson4=1.2
"
# Only where the command is not there yet, from whatever source: command=package
COMMANDS="java=openjdk-17-jre-headless javac=openjdk-17-jdk-headless mvn=maven npm=npm pip3=python3-pip"

KAFKA_VERSION=4.3.1
KAFKA_JARS_MIN=40
FLINK_VERSION=2.3.0
FLINK_JARS_MIN=57
RDKAFKA_VERSION=2.15.1
RDKAFKA=@confluentinc/kafka-javascript # its author's package for another language: holds the whole source
RDKAFKA_PACK=1.10.1
RDKAFKA_PACK_SHA512=29578f5019f6d44a8254ff667f1cc4b8cdd26091c7105ed7fa2882d9ee374108034b211a92c2279821a8a13df0e6af9c340764482acaef58f42027eaa12a992f
CHDB=@chdb/lib-linux-x64-gnu
CHDB_VERSION=26.7.3-stable.1
CHDB_PACK_BYTES=177817999
CHDB_PACK_SHA512=5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7
CHDB_LIB_BYTES=566330096

# Client libraries whose datagrams tests compare: with what they need, of their own choice
SENDERS="statsd==4.0.1 datadog==0.56.0 influxdb==5.3.2 graypy==2.1.0 pygelf==0.4.2"

# Programs that tests start themselves, out of packages that are not installed, since they would start a server:
# program|package|MB|its file|what it needs beside, and where that goes
PROGRAMS="promtool|prometheus|20|usr/bin/promtool|
rsyslogd|rsyslog|1|usr/sbin/rsyslogd|usr/lib/x86_64-linux-gnu/rsyslog=$SLUICE_RSYSLOG
nginx|nginx|1|usr/sbin/nginx|
collectd|collectd-core|1|usr/sbin/collectd|usr/lib/collectd=$SLUICE_COLLECTD/lib usr/share/collectd/types.db=$SLUICE_COLLECTD/types.db"

# What no package installs: part|what it is. Those of tests only have * before their name.
PARTS="kafka|Kafka $KAFKA_VERSION in $SLUICE_KAFKA_LIBS
*classes|the classes of Kafka's brokers as Java maps them, beside the jars
*flink|Flink $FLINK_VERSION in $SLUICE_FLINK_LIBS
rdkafka|librdkafka $RDKAFKA_VERSION in $SLUICE_RDKAFKA
chdb|ClickHouse engine in $SLUICE_LIBCHDB
*programs|$(cut -d '|' -f 1 <<<"$PROGRAMS" | paste -sd ' ') in $SLUICE_CACHE/bin
*senders|client libraries of StatsD, InfluxDB and GELF in $SLUICE_SENDERS"

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "installing packages needs root or sudo: $*"
	fi
}

missing_packages() {
	local item name installed
	installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" {print $1}')
	for item in $PACKAGES; do
		name=${item%%=*}
		grep -qx -- "$name" <<<"$installed" || echo "$name"
	done
	for item in $COMMANDS; do
		have "${item%%=*}" || echo "${item#*=}"
	done
}

check_versions() {
	local item name want got bad=0
	for item in $PACKAGES; do
		name=${item%%=*} want=${item#*=}
		got=$(dpkg-query -W -f '${Version}' "$name" 2>/dev/null || true)
		[[ "$got" == "$want"* ]] || { say "$name is $got, this tree is made for $want"; bad=1; }
	done
	[ $bad = 0 ] || say "other versions than these have not been tried (Debian 12 has them)"
}

# jars_there POM DIR JARS
jars_there() {
	[ "$(cat "$2/.version" 2>/dev/null)" = "$(sha256sum <"$1")" ] && [ "$(find -L "$2" -name '*.jar' | wc -l)" -ge "$3" ]
}

kafka_there() {
	jars_there tools/kafka/pom.xml "$SLUICE_KAFKA_LIBS" $KAFKA_JARS_MIN
}

# Whether they were made, or could not be, with this Java and these jars.
classes_mark() {
	java -version 2>&1 | cat - "$SLUICE_KAFKA_LIBS/.version" 2>/dev/null | sha256sum
}

classes_there() {
	[ "$(cat "$SLUICE_KAFKA_LIBS/.classes" 2>/dev/null)" = "$(classes_mark)" ]
}

flink_there() {
	jars_there perf/peers/flink/pom.xml "$SLUICE_FLINK_LIBS" $FLINK_JARS_MIN
}

chdb_there() {
	[ "$(stat -L -c %s "$SLUICE_LIBCHDB" 2>/dev/null || echo 0)" = $CHDB_LIB_BYTES ]
}

programs_there() {
	local name
	for name in $(cut -d '|' -f 1 <<<"$PROGRAMS"); do
		program_there "$name" || return 1
	done
}

rdkafka_there() {
	[ "$(cat "$SLUICE_RDKAFKA/.version" 2>/dev/null)" = "$RDKAFKA_VERSION" ]
}

install_packages() {
	local list=("$@") sizes
	say "Debian packages to install: ${list[*]}"
	as_root apt-get update -q >/dev/null || say "apt-get update failed; going on with the lists that are there"
	sizes=$(as_root apt-get install --no-install-recommends --assume-no "${list[@]}" 2>/dev/null | grep -E "^Need to get|^After this" || true)
	say "${sizes:-sizes are not known}"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${list[@]}"
}

# watch_size DIR EXPECTED_MB PID: a line every few seconds while PID runs
watch_size() {
	local ticks=0
	while kill -0 "$3" 2>/dev/null; do
		sleep 0.5
		ticks=$((ticks + 1))
		[ $((ticks % 8)) = 0 ] || continue
		say "  $(du -sm "$1" 2>/dev/null | cut -f1) of about $2 MB"
	done
	return 0
}

install_kafka() {
	install_jars "Kafka $KAFKA_VERSION" tools/kafka/pom.xml "$SLUICE_KAFKA_LIBS" $KAFKA_JARS_MIN 44
}

# Without them brokers only start more slowly.
install_classes() (
	say "a broker's classes for quicker starts (tests only): 50 MB, to $SLUICE_KAFKA_LIBS"
	work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-classes-XXXXXX")
	trap 'rm -rf "$work"' EXIT
	tests/integration/lib/kafka_cluster.sh classes "$work/kafka" >"$work/log" 2>&1 ||
		{ tail -3 "$work/log" >&2; say "there will be none"; }
	classes_mark >"$SLUICE_KAFKA_LIBS/.classes" || true
)

install_flink() {
	install_jars "Flink $FLINK_VERSION (tests only)" perf/peers/flink/pom.xml "$SLUICE_FLINK_LIBS" $FLINK_JARS_MIN 160
}

install_programs() {
	local name
	for name in $(cut -d '|' -f 1 <<<"$PROGRAMS"); do
		program_there "$name" || install_program "$name"
	done
}

# install_jars WHAT POM DIR JARS MB: the runtime jars of a pom
install_jars() {
	local work
	say "$1 by maven: $4 jars and more, $5 MB, to $3"
	mkdir -p "$(dirname "$3")"
	work=$(mktemp -d "$(dirname "$3")/.jars-XXXXXX")
	mvn -B -f "$2" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$work/libs" >"$work/log" 2>&1 &
	watch_size "$work" "$5" $!
	wait $! || { tail -20 "$work/log" >&2; die "maven failed; its output: $work/log"; }
	[ "$(find "$work/libs" -name '*.jar' | wc -l)" -ge "$4" ] || die "maven gave fewer jars than expected: $work/log"
	sha256sum <"$2" >"$work/libs/.version"
	rm -rf "$3"
	mv "$work/libs" "$3"
	rm -rf "$work"
}

build_rdkafka() {
	cd "$1" && npm pack --silent --cache "$1/cache" "$RDKAFKA@$RDKAFKA_PACK" &&
		sha512sum --check --quiet <<<"$RDKAFKA_PACK_SHA512  $(find . -maxdepth 1 -name '*.tgz')" &&
		tar xzf ./*.tgz package/deps/librdkafka && cd package/deps/librdkafka &&
		./configure --prefix="$SLUICE_RDKAFKA" --disable-syslog &&
		make -C src -j"$JOBS" && make -C src install DESTDIR="$1/out"
}

# The distribution's 2.0 spins for up to 1 ms a timer (docs/decisions/0011) and stays behind as what a build without this uses.
install_rdkafka() {
	local work
	say "librdkafka $RDKAFKA_VERSION by npm: 3 MB to fetch, half a minute to compile, to $SLUICE_RDKAFKA"
	mkdir -p "$SLUICE_CACHE"
	work=$(mktemp -d "$SLUICE_CACHE/.rdkafka-XXXXXX")
	if ! (build_rdkafka "$work") >"$work/log" 2>&1; then
		tail -5 "$work/log" >&2
		mv "$work/log" "$SLUICE_CACHE/rdkafka.log"
		rm -rf "$work"
		say "librdkafka could not be built ($SLUICE_CACHE/rdkafka.log); the distribution's is taken"
		return 0
	fi
	echo $RDKAFKA_VERSION >"$work/out/$SLUICE_RDKAFKA/.version"
	rm -rf "$SLUICE_RDKAFKA"
	mv "$work/out/$SLUICE_RDKAFKA" "$SLUICE_RDKAFKA"
	rm -rf "$work"
}

# fetch_files PACKAGE WORK PATH...: files of a package that is not to be installed, since it would start a server
fetch_files() {
	local package=$1 work=$2
	shift 2
	chmod 755 "$work"
	(cd "$work" && apt-get download -q "$package" >log 2>&1 && dpkg-deb --fsys-tarfile "$package"_*.deb | tar x "$@")
}

# row_of PROGRAM: its fields of PROGRAMS
row_of() {
	awk -F '|' -v name="$1" '$1 == name {print $2, $3, $4, $5}' <<<"$PROGRAMS"
}

program_there() {
	local package mb file beside pair
	read -r package mb file beside < <(row_of "$1")
	[ -x "$SLUICE_CACHE/bin/$1" ] || return 1
	for pair in $beside; do
		[ -e "${pair#*=}" ] || return 1
	done
}

install_program() {
	local package mb file beside pair files work
	read -r package mb file beside < <(row_of "$1")
	say "$1 of Debian's $package package (tests only): $mb MB to fetch, to $SLUICE_CACHE"
	mkdir -p "$SLUICE_CACHE/bin"
	work=$(mktemp -d "$SLUICE_CACHE/.$1-XXXXXX")
	files=("./$file")
	for pair in $beside; do
		files+=("./${pair%%=*}")
	done
	if fetch_files "$package" "$work" "${files[@]}"; then
		for pair in $beside; do
			rm -rf "${pair#*=}"
			mkdir -p "$(dirname "${pair#*=}")"
			mv "$work/${pair%%=*}" "${pair#*=}"
		done
		mv "$work/$file" "$SLUICE_CACHE/bin/$1"
	else
		say "$1 could not be fetched; its test will be skipped"
	fi
	rm -rf "$work"
}

senders_there() {
	[ "$(cat "$SLUICE_SENDERS/.version" 2>/dev/null)" = "$SENDERS" ]
}

install_senders() {
	local work
	say "client libraries of StatsD, InfluxDB and GELF by pip (tests only): 15 MB, to $SLUICE_SENDERS"
	mkdir -p "$SLUICE_CACHE"
	work=$(mktemp -d "$SLUICE_CACHE/.senders-XXXXXX")
	# shellcheck disable=SC2086
	if ! python3 -m pip install --target "$work/lib" $SENDERS >"$work/log" 2>&1; then
		tail -3 "$work/log" >&2
		say "the client libraries could not be fetched; their test will be skipped"
		rm -rf "$work"
		return 0
	fi
	echo "$SENDERS" >"$work/lib/.version"
	rm -rf "$SLUICE_SENDERS"
	mv "$work/lib" "$SLUICE_SENDERS"
	rm -rf "$work"
}

install_chdb() {
	local dir work pack
	dir=$(dirname "$SLUICE_LIBCHDB")
	say "ClickHouse engine $CHDB_VERSION by npm: 178 MB to fetch, 566 MB on disk, to $SLUICE_LIBCHDB"
	mkdir -p "$dir"
	work=$(mktemp -d "$dir/.chdb-XXXXXX")
	(cd "$work" && exec npm pack --silent --cache "$work/cache" "$CHDB@$CHDB_VERSION") >"$work/log" 2>&1 &
	watch_size "$work" 178 $!
	wait $! || { tail -20 "$work/log" >&2; die "npm failed; its output: $work/log"; }
	pack=$(find "$work" -maxdepth 1 -name '*.tgz')
	[ "$(stat -c %s "$pack")" = $CHDB_PACK_BYTES ] || die "$pack: unexpected size"
	sha512sum --check --quiet <<<"$CHDB_PACK_SHA512  $pack" || die "$pack: unexpected content"
	say "unpacking"
	tar xzf "$pack" -C "$work" package/libchdb.so
	[ "$(stat -c %s "$work/package/libchdb.so")" = $CHDB_LIB_BYTES ] || die "libchdb.so: unexpected size"
	mv "$work/package/libchdb.so" "$SLUICE_LIBCHDB"
	rm -rf "$work"
}

main() {
	local packages check=0 demo=0 missing=() part what
	while [ $# -gt 0 ]; do
		case $1 in
		--check) check=1 ;;
		--demo) demo=1 ;;
		*) die "scripts/deps.sh: $1: not known" ;;
		esac
		shift
	done
	mapfile -t packages < <(missing_packages)
	while IFS='|' read -r part what; do
		[ $demo = 1 ] && [[ "$part" == \** ]] && continue
		"${part#\*}_there" || { missing+=("${part#\*}") && [ $check = 0 ] || say "missing: $what"; }
	done <<<"$PARTS"
	if [ $check = 1 ]; then
		[ ${#packages[@]} = 0 ] || say "missing packages: ${packages[*]}"
		[ ${#packages[@]} = 0 ] && [ ${#missing[@]} = 0 ]
		return
	fi
	[ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m); x86_64 is needed"
	[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"
	for part in "${missing[@]}"; do
		"install_$part"
	done
	check_versions
	say "everything is there ($SLUICE_CACHE: $(du -sLm "$SLUICE_CACHE" 2>/dev/null | cut -f1) MB)"
}

main "$@"
