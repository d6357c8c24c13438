#!/bin/bash
# A real ClickHouse server for tests, of the library that SLUICE_LIBCHDB names.
#   clickhouse_server.sh start DIR HTTP_PORT TCP_PORT CHEMBED [ENGINE_ARGUMENT...]
#     returns when it answers; its process id is in DIR/pid, its output in DIR/log
#   clickhouse_server.sh stop DIR     orderly; SIGKILL after 60 s
# Exit 77 (skip) if the library is not there.
set -u
lib=${SLUICE_LIBCHDB:-$HOME/.cache/sluice/chdb/libchdb.so}

start() {
	local dir=$1 http=$2 tcp=$3 chembed=$4
	shift 4
	[ -f "$lib" ] || { echo "skipped: no $lib (set SLUICE_LIBCHDB)" >&2; exit 77; }
	mkdir -p "$dir"
	setsid "$chembed" "$lib" "$dir/data" "$http" "$tcp" "$@" >>"$dir/log" 2>&1 </dev/null &
	local pid=$!
	echo $pid >"$dir/pid"
	for _ in $(seq 3000); do
		kill -0 $pid 2>/dev/null || { echo "server ended:" >&2; tail -5 "$dir/log" >&2; exit 1; }
		[ "$(curl -s -m 2 "http://127.0.0.1:$http/ping" 2>/dev/null)" = Ok. ] && exit 0
		sleep 0.05
	done
	echo "server does not answer" >&2
	kill -9 $pid
	exit 1
}

stop() {
	local pid
	pid=$(cat "$1/pid") || exit 1
	kill -CONT "$pid" 2>/dev/null
	kill -TERM "$pid" 2>/dev/null
	for _ in $(seq 600); do
		kill -0 "$pid" 2>/dev/null || exit 0
		sleep 0.1
	done
	kill -9 "$pid"
}

case "${1:-}" in
start) shift; start "$@" ;;
stop) shift; stop "$@" ;;
*) sed -n 2,6p "$0" >&2; exit 2 ;;
esac
