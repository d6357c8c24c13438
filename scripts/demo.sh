#!/bin/bash
# ./run demo: real packets from a kernel sender in a network namespace, over a veth pair, into DPDK; on to a real Kafka
# and a real ClickHouse; watched live; at the end every event id is compared. Ctrl-C ends the traffic, then compares:
# sender, supervisor and view have sessions of their own, so that a signal to the group reaches this script only.
#   --duration S   ends by itself after S seconds of traffic; without it: until Ctrl-C
#   --rate N       events a second (20000)        --keep       leave data and logs
#   --data DIR     where (.sluice-demo)           --no-deps    do not install anything
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/lib.sh

duration=0 rate=20000 keep=0 data=$PWD/.sluice-demo deps=1
ns=sluice-demo-$$ out=sl$$a in=sl$$b port=5140
address=198.18.0.2 # of the range for benchmarks (RFC 2544); only ever inside the namespace
supervisor='' generator='' view='' stopping=0

usage() {
	sed -n 's/^#   //p' scripts/demo.sh | head -3
	exit "${1:-2}"
}

while [ $# -gt 0 ]; do
	case $1 in
	--duration) duration=${2:?--duration S} && shift ;;
	--rate) rate=${2:?--rate N} && shift ;;
	--data) [ -n "${2:-}" ] || usage
		data=$(realpath -m "$2") && shift ;;
	--keep) keep=1 ;;
	--no-deps) deps=0 ;;
	-h | --help) usage 0 ;;
	*) usage ;;
	esac
	shift
done
[[ "$duration" =~ ^[0-9]+$ && "$rate" =~ ^[1-9][0-9]*$ ]] || usage

need_root() {
	[ "$(id -u)" = 0 ] && return
	cat >&2 <<'X'
The demonstration needs root: it makes a network namespace and a veth pair, and opens an AF_PACKET socket.
    sudo ./run demo
Without root, the same path can be tried with frames from a file
(docs/operations.md, section "Try a configuration without a NIC"):
    ./run build && build/tools/gen/sluice-gen --pcap events.pcap --count 100000
    build/tools/supervisor/sluice-supervisor --config CONFIG_WITH_A_net_pcap_PORT
X
	exit 1
}

# One demo per data folder, from here to the end of the last child: they inherit the lock.
lock_data() {
	mkdir -p "$(dirname "$data")"
	exec {lock}>>"$data.lock"
	if ! flock -n "$lock" || ! [ "$data.lock" -ef "/proc/$$/fd/$lock" ]; then
		die "a demo is already running in $data (--data DIR for another)"
	fi
	trap 'rm -f "$data.lock"' EXIT
	if [ -e "$data" ] && [ ! -e "$data/sluice.yaml" ] && [ -n "$(ls -A "$data")" ]; then
		die "$data is not empty and not of a demo: it would be deleted, so choose another folder"
	fi
}

what_it_does() {
	cat >&2 <<'X'
run: the demo makes a network namespace and a veth pair, and starts a Kafka broker and a ClickHouse engine as children
     (both real, one embedded node each, for trial only). A sender generates events, some of them malformed, duplicate
     or fraudulent; you watch them pass live, and at the end every event id is compared across journal, Kafka and
     ClickHouse, and the alerts with the scenarios of fraud that were acted out. It changes nothing outside its namespace, its veth pair and its data folder.
X
}

pause() { # SECONDS; no child that a signal to the group could kill
	read -rt "$1" -u "$tick" || true
}

alive() { # PID; not by kill -0: inside a trap the shell does not reap, and what has ended still takes signals
	local stat
	read -r stat <"/proc/$1/stat" && [[ "$stat" != *") Z "* ]]
} 2>/dev/null

# Again and again, as the sender ignores SIGINT until it has its handler.
stop_generator() {
	for _ in $(seq 100); do
		alive "$generator" || return 0
		kill -INT "$generator" 2>/dev/null || true
		pause 0.1
	done
	kill -KILL "$generator" 2>/dev/null || true
}

cleanup() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP
	set +e # each step is tried, whatever became of the one before
	[ -n "$view" ] && kill "$view" 2>/dev/null
	[ -n "$generator" ] && stop_generator
	if [ -n "$supervisor" ]; then
		kill -TERM "$supervisor" 2>/dev/null
		for _ in $(seq 1200); do alive "$supervisor" && pause 0.1 || break; done
		kill -KILL "$supervisor" 2>/dev/null # its children die with it
	fi
	ip netns del "$ns" 2>/dev/null # the veth pair goes with it
	ip link del "$out" 2>/dev/null
	if [ $keep = 1 ] || { [ $status != 0 ] && [ $status -lt 128 ]; }; then
		say "data and logs are in $data"
	else
		rm -rf "$data"
	fi
	rm -f "$data.lock"
	exit $status
}

network() {
	local mac
	ip netns add "$ns"
	ip link add "$out" type veth peer name "$in" netns "$ns"
	# No address on our end: the kernel must not answer what DPDK takes (the sender fails at ICMP unreachable).
	sysctl -qw "net.ipv6.conf.$out.disable_ipv6=1" 2>/dev/null || true
	ip link set "$out" arp off up
	mac=$(ip -br link show "$out" | awk '{print $3}')
	ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
	ip -n "$ns" addr add 198.18.0.1/24 dev "$in"
	ip -n "$ns" link set lo up
	ip -n "$ns" link set "$in" up
	ip -n "$ns" neigh replace "$address" lladdr "$mac" dev "$in" nud permanent
	# Else frames leave with unfinished checksums, as a NIC would fill them in.
	ip netns exec "$ns" ethtool -K "$in" tx off >/dev/null
}

write_config() {
	cat >"$data/sluice.yaml" <<X
node: {id: demo}
eal: {hugepages: false, memory: 256MiB}
worker: {batches: 64}
ports:
  - {name: veth, device: "net_af_packet0,iface=$out,blocksz=65536,framesz=2048,framecnt=8192"}
listeners:
  - {name: events, udp_port: $port, format: ndjson, type: auto}
rules: {dir: "$PWD/rules/packs"}
kafka: {partitions: 4, partitions_other: 2}
time: {out_of_orderness: 5s}
windows: # short ones, to be seen at once; without any the shipped ones are in force
  - {name: page_5s, size: 5s, types: "click,page_view", by: "page,country", aggregates: "count, distinct(user_id)"}
  - {name: source_5s, size: 5s, types: platform, by: source, aggregates: "count, avg(metric), quantiles(metric), error_rate"}
  - {name: source_hops, kind: hopping, size: 10s, slide: 1s, types: platform, by: source, aggregates: "count, error_rate"}
  - {name: sessions, kind: session, gap: 3s, types: "click,page_view", by: user_id, aggregates: "count, first(page), last(page)"}
X
}

state() { # KEY
	sed -n "s/^$1=//p" "$data/state" 2>/dev/null
}

# Like [ "$(state sluiced_state)" = ready ], without a child that a signal to the group could kill.
sluiced_ready() {
	local line
	while read -r line; do
		[ "$line" = sluiced_state=ready ] && return 0
	done <"$data/state"
	return 1
}

start_servers() {
	setsid build/tools/supervisor/sluice-supervisor --demo --data "$data" --config "$data/sluice.yaml" \
		--kafka-libs "$SLUICE_KAFKA_LIBS" --chdb "$SLUICE_LIBCHDB" --state-file "$data/state" \
		>"$data/supervisor.log" 2>&1 &
	supervisor=$!
	for _ in $(seq 1200); do
		[ "$(state sluiced_state)" = ready ] && break
		if ! alive "$supervisor"; then
			cat "$data/supervisor.log" >&2
			[ -f "$data/sluiced.log" ] && tail -20 "$data/sluiced.log" >&2
			die "the start failed"
		fi
		sleep 0.1
	done
	[ "$(state sluiced_state)" = ready ] || die "sluiced does not answer: $data/sluiced.log"
	sed -n '/\*\*\*/,$p' "$data/supervisor.log"
}

how_to_query() {
	local brokers url
	brokers=$(state kafka) url=$(state clickhouse)
	cat <<X
Look for yourself, while it runs:
  kcat -b $brokers -t web.clicks -C -o -20 -e -q -f '%k %s\n%h\n' -X isolation.level=read_committed
  kcat -b $brokers -t alerts -C -o -20 -e -q -X isolation.level=read_committed
  kcat -b $brokers -t aggregates.source_5s -C -o -20 -e -q -X isolation.level=read_committed
  curl -s $url --data-binary 'SELECT count(), uniqExact(event_id) FROM rt.clicks_raw'
  curl -s $url --data-binary \\
    'SELECT rule_id, severity, count() FROM rt.alerts GROUP BY 1, 2 ORDER BY 3 DESC FORMAT PrettyCompact'
  curl -s $url --data-binary \\
    'SELECT reason, count() FROM rt.dead_letters GROUP BY 1 ORDER BY 2 DESC FORMAT PrettyCompact'
  curl -s $url --data-binary 'SELECT * FROM rt.agg_source_view ORDER BY window_start DESC LIMIT 8 FORMAT Vertical'
  $PWD/build/$ctl --socket $(state socket) windows
  $PWD/build/$ctl --socket $(state socket) status

X
}

# Beside single events that rules match: up to 60 actors at a time whose events together are fraud, or just not; many
# enough users that no other one looks like it.
start_generator() {
	local actors=$((rate / 4 < 60 ? rate / 4 : 60)) users=$((rate * 4 > 100000 ? rate * 4 : 100000))
	local arguments=(--udp "$address:$port" --rate "$rate" --events-per-datagram 6 --disorder-ms 2000
		--dup-permille 5 --bad-permille 5 --fraud-permille 10 --noid-permille 5 --escape-permille 20
		--utf8-permille 20 --extra-permille 10 --users "$users")
	[ "$actors" = 0 ] || arguments+=(--scenarios "$actors" --scenario-truth "$data/scenarios")
	[ "$duration" -gt 0 ] && arguments+=(--duration "$duration" --truth "$data/truth")
	setsid ip netns exec "$ns" build/tools/gen/sluice-gen "${arguments[@]}" >"$data/gen.log" 2>&1 &
	generator=$!
}

control() {
	"build/$ctl" --socket "$(state socket)" --json "$@"
}

watch_until_end() {
	local mode=()
	[ -t 1 ] && mode=(--screen)
	setsid python3 scripts/view.py "${mode[@]}" "build/$ctl" "$(state socket)" "$(how_to_query)" &
	view=$!
	while alive "$generator" && [ $stopping = 0 ]; do
		pause 0.2
		if ! sluiced_ready && [ $stopping = 0 ]; then
			tail -20 "$data/sluiced.log" >&2
			die "sluiced ended: $(state sluiced_end)"
		fi
	done
	# Some send a signal to the process and then to its group: the second must not abort what follows.
	trap '' INT TERM
	[ $stopping = 0 ] || say "stopping the sender; then comparing (again Ctrl-C: no comparison)"
	stop_generator
	wait "$generator" || die "the generator failed: $(cat "$data/gen.log")"
	generator=''
	pause 0.5
}

# What of the sent events was lost under a name: those of the handoff and the journal, not refusals and duplicates.
named_losses() { # FILTER
	jq -r '[.drops[] | select(.unit == "event" and .count > 0) | select(.reason as $r |
		["no_batch", "journal_failed", "journal_full", "record_too_big", "dead_letter_quota"] |
		index($r))] | '"$1" \
		"$data/status.json"
}

explain_losses() { # LOST
	if [ "$1" = 0 ]; then
		say "no event was dropped before the journal"
		return
	fi
	local names
	names=$(named_losses 'if length == 1 then .[0].reason else map("\(.reason) \(.count)") | join(", ") end')
	say "$1 events dropped before the journal, counted as $names"
	[ ! -f "$data/truth" ] || say "the truth below may miss that many (fewer where a duplicate arrived)"
}

frames_lost() {
	control ports |
		jq '[.. | objects | (.kernel_drops?, .rx_missed?, .rx_no_mbuf?, .rx_errors?) | numbers] | add // 0'
}

# Frames that the veth pair itself lost, before any socket: the kernel's backlog was full.
wire_lost() {
	local tx rx
	tx=$(ip netns exec "$ns" cat "/sys/class/net/$in/statistics/tx_dropped")
	rx=$(cat "/sys/class/net/$out/statistics/rx_dropped")
	echo $((tx > rx ? tx : rx))
}

wire_counters() {
	say "frames: $(ip netns exec "$ns" cat "/sys/class/net/$in/statistics/tx_packets") left the sender," \
		"$(cat "/sys/class/net/$out/statistics/rx_packets") came to the interface," \
		"$(control ports | jq '.ports[0].rx_packets') to the DPDK port," \
		"$(control ports | jq -r '.ports[0].kernel_drops') lost between these two"
}

# Events that were lost before the rules saw them: then a scenario may be missed.
compare_scenarios() { # LOST
	local lossy=() shadows
	[ -s "$data/scenarios" ] || return 0
	shadows=$(jq '[.drops[] | select(.reason == "shadow_no_batch") | .count] | add // 0' "$data/status.json")
	[ $(($1 + shadows)) = 0 ] || lossy=(--lossy)
	say "comparing alerts of rules with state with the scenarios that were acted out${lossy:+ (events were lost: some may be missed)}"
	python3 scripts/scenario_check.py "${lossy[@]}" "$(state clickhouse)" "$data/scenarios"
}

finish() {
	local rc=0 lost frames verify=(--journal "$data/sluice/journal" --rules "$data/sluice" --kafka "$(state kafka)"
		--clickhouse "$(state clickhouse)")
	say "draining: what is durable goes to both sinks"
	control drain --timeout 120 >"$data/drain.json" || die "drain failed: $(cat "$data/drain.json")"
	sleep 1.1 # one more round of counters
	kill "$view" 2>/dev/null || true
	wait "$view" 2>/dev/null || true
	view=''
	wire_counters
	control status >"$data/status.json"
	control ledger >"$data/ledger.json"
	frames=$(($(frames_lost) + $(wire_lost)))
	python3 scripts/view.py --once "build/$ctl" "$(state socket)" || true
	[ "$(jq -r .balanced "$data/ledger.json")" = true ] || die "the ledger does not balance: $data/ledger.json"
	control stop >/dev/null
	for _ in $(seq 1000); do [ "$(state sluiced_state)" = down ] && break || sleep 0.1; done
	[ "$(state sluiced_end)" = "exit status 0" ] || die "sluiced ended with $(state sluiced_end): $data/sluiced.log"
	lost=$(named_losses 'map(.count) | add // 0')
	explain_losses "$lost"
	if [ -f "$data/truth" ]; then
		verify+=(--truth "$data/truth")
		say "$(cat "$data/gen.log")"
		if [ "$frames" -gt 0 ]; then
			say "$frames frames were lost before sluiced could take them; the ports count them"
			verify+=(--missing-ok)
		else
			verify+=(--lost "$lost")
		fi
	fi
	say "comparing every event id: journal, Kafka, ClickHouse"
	build/tools/verify/sluice-verify "${verify[@]}" || rc=1
	compare_scenarios $((lost + frames)) || rc=1
	return $rc
}

need_root
lock_data
[ $deps = 0 ] || scripts/deps.sh --demo {lock}>&-
# What runs here, and no tests.
TARGETS='controlplane/sluiced controlplane/cli/sluicectl tools/gen/sluice-gen tools/verify/sluice-verify
	tools/supervisor/sluice-supervisor tools/chembed' ./run build {lock}>&-
ctl=controlplane/sluicectl
[ -x "build/$ctl" ] || ctl=controlplane/cli/sluicectl
[ -x "build/$ctl" ] || die "build/$ctl is not there"
what_it_does
exec {tick}<> <(:) # nothing ever comes: for pause
rm -rf "$data"
mkdir -p "$data"
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
network
write_config
start_servers
trap 'stopping=1' INT TERM
start_generator
watch_until_end
trap 'exit 130' INT
trap 'exit 143' TERM
finish || exit 1
say "the same events everywhere, each exactly once; alerts as the scenarios say"
