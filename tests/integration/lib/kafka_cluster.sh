#!/bin/sh
# Real Kafka brokers (KRaft, combined nodes) on 127.0.0.1 for tests.
#   kafka_cluster.sh start DIR NODES PORT     brokers at PORT+1..PORT+NODES, controllers at PORT+101..; exit 77: no jars
#   kafka_cluster.sh startone DIR N           node N again, after kill
#   kafka_cluster.sh kill|freeze|thaw DIR N   SIGKILL, SIGSTOP, SIGCONT
#   kafka_cluster.sh config DIR TOPIC KEY=VALUE
#   kafka_cluster.sh stop DIR                 all nodes; the data directory stays
#   kafka_cluster.sh classes DIR              writes LIBS/kafka.jsa, with which a broker starts sooner (./run deps)
# SLUICE_KAFKA_LIBS: directory of the jars (default ~/.cache/sluice/kafka-libs). KAFKA_HEAP: of each node.
# SLUICE_KAFKA_MORE: a further property of each node.
# KAFKA_JOPTS: collector and compilers of the JVMs; by default those that start quickly.
set -u
here=$(cd "$(dirname "$0")" && pwd)
libs=${SLUICE_KAFKA_LIBS:-$HOME/.cache/sluice/kafka-libs}
heap=${KAFKA_HEAP:-256m}
jopts="${KAFKA_JOPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1} -Xss512k"
# An archive that does not suit this Java or these jars is passed over by the JVM.
[ -e "$libs/kafka.jsa" ] && [ "${1:-}" != classes ] && jopts="$jopts -XX:SharedArchiveFile=$libs/kafka.jsa"
end_tenths=80 archive= # of a second, for an orderly end; what a broker writes at its end

pid_of() { # prints the pid if it is still the node that we started
	[ -s "$dir/$1.pid" ] || return 1
	p=$(cat "$dir/$1.pid")
	[ -r "/proc/$p/cmdline" ] && tr '\0' ' ' <"/proc/$p/cmdline" | grep -q "$dir/$1.properties" && echo "$p"
}

voters() {
	list=
	for i in $(seq "$nodes"); do list="$list${list:+,}$i@127.0.0.1:$((port + 100 + i))"; done
	echo "$list"
}

# With SLUICE_KAFKA_TLS=DIR (ca.pem, server.pem, server.key) node N speaks at PORT+200+N TLS with SASL (PLAIN,
# SCRAM-SHA-512), and at PORT+300+N TLS with certificates of both sides. The user: `alice`, the password: `open sesame`.
secure() { # N
	[ -n "${SLUICE_KAFKA_TLS:-}" ] || return 0
	cat "$SLUICE_KAFKA_TLS/server.key" "$SLUICE_KAFKA_TLS/server.pem" >"$dir/server-both.pem"
	sasl="SASL_SSL://127.0.0.1:$((port + 200 + $1)),SSL://127.0.0.1:$((port + 300 + $1))"
	sed -i -e "s|^listeners=.*|&,$sasl|" -e "s|^advertised.listeners=.*|&,$sasl|" \
		-e 's|^listener.security.protocol.map=.*|&,SASL_SSL:SASL_SSL,SSL:SSL|' "$dir/$1.properties"
	login=org.apache.kafka.common.security
	cat >>"$dir/$1.properties" <<X
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_alice="open sesame";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$dir/server-both.pem
ssl.truststore.type=PEM
ssl.truststore.location=$SLUICE_KAFKA_TLS/ca.pem
listener.name.ssl.ssl.client.auth=required
X
}

configure() { # N
	rf=$nodes
	[ "$nodes" -gt 3 ] && rf=3
	isr=$((rf > 1 ? rf - 1 : 1))
	cat >"$dir/$1.properties" <<X
process.roles=broker,controller
node.id=$1
controller.quorum.voters=$(voters)
listeners=PLAINTEXT://127.0.0.1:$((port + $1)),CONTROLLER://127.0.0.1:$((port + 100 + $1))
advertised.listeners=PLAINTEXT://127.0.0.1:$((port + $1))
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/log$1
auto.create.topics.enable=false
default.replication.factor=$rf
min.insync.replicas=$isr
offsets.topic.replication.factor=$rf
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$rf
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$rf
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
num.network.threads=2
num.io.threads=2
background.threads=2
num.replica.fetchers=1
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
log.segment.bytes=134217728
transaction.max.timeout.ms=900000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
${SLUICE_KAFKA_MORE:-}
X
	secure "$1"
}

random_id() { # 16 random bytes as Kafka's Uuid writes them
	head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '='
}

# The first node's directory by Kafka's tool; the others differ from it by their ids only, and a JVM is a second or two.
format() { # N
	first="$dir/log1/meta.properties" ids="s/^node.id=.*/node.id=$1/; s/^directory.id=.*/directory.id=$(random_id)/"
	if [ "$1" -gt 1 ] && [ -f "$first" ]; then
		mkdir -p "$dir/log$1" && cp "$dir/formatted" "$dir/log$1/bootstrap.checkpoint" &&
			sed "$ids" "$first" >"$dir/log$1/meta.properties"
		return
	fi
	java -Xmx128m $jopts -Dklog=warn \
		"-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*" kafka.tools.StorageTool format \
		-t MkU3OEVBNTcwNTJENDM2Qk ${SLUICE_KAFKA_TLS:+-S "SCRAM-SHA-512=[name=alice,password=open sesame]"} \
		-c "$dir/$1.properties" >"$dir/format$1.out" 2>&1 &&
		cp "$dir/log$1/bootstrap.checkpoint" "$dir/formatted" ||
		{ cat "$dir/format$1.out"; return 1; }
}

launch() { # N
	pid_of "$1" >/dev/null && return 0
	[ -f "$dir/log$1/meta.properties" ] || format "$1" || return 1
	: >"$dir/$1.log"
	nohup setsid java -Xms32m "-Xmx$heap" $jopts $archive "-Dlog4j2.configurationFile=$here/log4j2.properties" \
		-cp "$libs/*" kafka.Kafka "$dir/$1.properties" >"$dir/$1.log" 2>&1 </dev/null &
	echo $! >"$dir/$1.pid"
}

await() { # N
	i=0
	until grep -q 'Kafka Server started' "$dir/$1.log" 2>/dev/null; do
		kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null || { tail -20 "$dir/$1.log"; return 1; }
		i=$((i + 1))
		[ $i -gt 900 ] && { echo "node $1 did not start in 90 s"; return 1; }
		sleep 0.1
	done
}

stop_all() {
	for n in $(seq "$nodes"); do
		p=$(pid_of "$n") && { kill -CONT "$p"; kill "$p"; }
	done
	for n in $(seq "$nodes"); do
		i=0
		while p=$(pid_of "$n"); do
			i=$((i + 1))
			[ $i -eq $end_tenths ] && kill -9 "$p"
			sleep 0.1
		done
		rm -f "$dir/$n.pid"
	done
}

start_all() { # NODES PORT
	nodes=$1 port=$2
	command -v java >/dev/null && ls "$libs"/kafka_2*.jar >/dev/null 2>&1 ||
		{ echo "no java, or no Kafka jars in $libs: skipped"; exit 77; }
	mkdir -p "$dir" && echo "$nodes $port" >"$dir/cluster" || exit 1
	for n in $(seq "$nodes"); do configure "$n"; done
	for n in $(seq "$nodes"); do launch "$n" || exit 1; done
	for n in $(seq "$nodes"); do await "$n" || { stop_all; exit 1; }; done
}

# What a broker writes at its end is taken once a JVM has accepted it.
write_classes() {
	end_tenths=1200 archive="-XX:ArchiveClassesAtExit=$dir/kafka.jsa"
	trap 'stop_all; exit 1' INT TERM HUP
	start_all 1 24760
	stop_all
	java -Xshare:on "-XX:SharedArchiveFile=$dir/kafka.jsa" -Xmx128m $jopts -cp "$libs/*" \
		kafka.tools.StorageTool random-uuid &&
		mv "$dir/kafka.jsa" "$libs/kafka.jsa"
}

[ $# -ge 2 ] || { sed -n 2,9p "$0"; exit 2; }
dir=$2
case "$1" in
start) start_all "$3" "$4"; exit 0 ;;
classes) write_classes; exit ;;
esac
[ -f "$dir/cluster" ] || { echo "$dir: no cluster"; exit 1; }
read -r nodes port <"$dir/cluster"
case "$1" in
startone) launch "$3" && await "$3" ;;
kill) p=$(pid_of "$3") && kill -9 "$p" && rm -f "$dir/$3.pid" ;;
freeze) p=$(pid_of "$3") && kill -STOP "$p" ;;
thaw) p=$(pid_of "$3") && kill -CONT "$p" ;;
config)
	java -Xmx128m $jopts "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*" \
		kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$((port + 1))" --alter \
		--entity-type topics --entity-name "$3" --add-config "$4" >"$dir/config.out" 2>&1 ;;
stop) stop_all ;;
*) sed -n 2,9p "$0"; exit 2 ;;
esac
