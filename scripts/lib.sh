# What the scripts share. Sourced, in the tree's top folder.
SLUICE_CACHE=${SLUICE_CACHE:-${HOME:-/root}/.cache/sluice}
JOBS=${JOBS:-$(nproc)}
export SLUICE_CACHE
export PATH=$PATH:$SLUICE_CACHE/bin
export SLUICE_KAFKA_LIBS=${SLUICE_KAFKA_LIBS:-$SLUICE_CACHE/kafka-libs}
export SLUICE_FLINK_LIBS=${SLUICE_FLINK_LIBS:-$SLUICE_CACHE/flink-libs}
export SLUICE_RDKAFKA=${SLUICE_RDKAFKA:-$SLUICE_CACHE/librdkafka}
export PKG_CONFIG_PATH=$SLUICE_RDKAFKA/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export SLUICE_LIBCHDB=${SLUICE_LIBCHDB:-$SLUICE_CACHE/chdb/libchdb.so}
export SLUICE_RSYSLOG=${SLUICE_RSYSLOG:-$SLUICE_CACHE/rsyslog}
export SLUICE_COLLECTD=${SLUICE_COLLECTD:-$SLUICE_CACHE/collectd}
export SLUICE_SENDERS=${SLUICE_SENDERS:-$SLUICE_CACHE/senders}

say() {
	printf 'run: %s\n' "$*" >&2
}

die() {
	printf 'run: %s\n' "$*" >&2
	exit 1
}

have() {
	command -v "$1" >/dev/null 2>&1
}
