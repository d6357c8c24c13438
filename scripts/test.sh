# ./run test. Sourced by run. Every suite has a budget in seconds; what exceeds it is stopped and counts as failed.
declare -A BUDGET=([kafka]=1800 [clickhouse]=2400 [equality]=900 [lint]=120 [unit]=900 [unit-asan]=1500 [threads-tsan]=900 [e2e]=4500 [state]=420 [integration]=900)
BUDGET_OTHER=420 # each suite with servers; docs/testing.md says what is in them
TSAN_TESTS='handoff|journal|ring|dataplane|sinks/runner|state/state'

passed=0 failed=0 skipped=0 suite_pid=

# show_failures LOG: their names, the lines that say FAILED, and the last ones; for who has nothing but this output
show_failures() {
	jq -r 'def last_lines(n): split("\n") | map(select(. != "")) | .[-n:];
		select(.result != "OK" and .result != "SKIP" and .result != "EXPECTEDFAIL")
		| "run:   \(.result) \(.name), \(.duration | floor) s",
		  ((.stdout // "") as $out | ($out | split("\n") | map(select(test("FAILED"))) | .[:10]) +
		   ($out | last_lines(12)) + ((.stderr // "") | last_lines(12)) | map("run:     " + .[:400]) | .[])' "$1"
}

# count_results DIR NAME EXPECTED: adds what the suite's log says
count_results() {
	local log=$1/meson-logs/testlog-$2.json ok bad skip seen
	[ -f "$log" ] || log=/dev/null
	ok=$(jq -s '[.[] | select(.result == "OK" or .result == "EXPECTEDFAIL")] | length' "$log")
	skip=$(jq -s '[.[] | select(.result == "SKIP")] | length' "$log")
	seen=$(jq -s length "$log")
	bad=$((seen - ok - skip))
	# what did not get its turn within the budget has not passed
	[ "$seen" -lt "$3" ] && bad=$((bad + $3 - seen))
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	say "$2: $ok passed, $bad failed, $skip skipped, log: $1/meson-logs/testlog-$2.txt"
	[ "$bad" -gt 0 ] && show_failures "$log" >&2
	return 0
}

# Ends the suite that runs, which ends its tests, and these what they have started.
interrupted() {
	[ -n "$suite_pid" ] && kill "$suite_pid" 2>/dev/null && wait "$suite_pid" || true
	exit 130
}

# run_suite DIR NAME PREFIX -- MESON_TEST_ARG...
run_suite() {
	local dir=$1 name=$2 prefix=$3 expected budget
	shift 4
	budget=${BUDGET[$name]:-$BUDGET_OTHER}
	expected=$(meson test -C "$dir" --no-rebuild --list "$@" 2>/dev/null | grep -c ' / ' || true)
	[ "$expected" -gt 0 ] || { say "$name: no tests"; return 0; }
	rm -f "$dir/meson-logs/testlog-$name.json"
	say "$name: $expected tests, at most $budget s"
	# shellcheck disable=SC2086
	timeout --kill-after=20 "$budget" $prefix meson test -C "$dir" --no-rebuild --logbase "testlog-$name" "$@" \
		>"$dir/meson-logs/$name.out" 2>&1 &
	suite_pid=$!
	wait "$suite_pid" || true # not in the foreground: a trap would have to wait for it
	suite_pid=
	count_results "$dir" "$name" "$expected"
}

build_or_fail() {
	# in a subshell: a build that fails is a failed test here, the others go on
	if ! (build "$@"); then
		failed=$((failed + 1))
		return 1
	fi
}

ASAN_SETUP='-Db_sanitize=address,undefined -Db_lundef=false -Dbench=false'
TSAN_SETUP='-Db_sanitize=thread -Db_lundef=false -Dbench=false -Dsimdjson=false'
BESIDE_LOG=build-asan/meson-logs/testlog-beside.json
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# The sanitizers' builds and the unit tests with ASan and UBSan, while the suites with servers run, by what these leave idle:
# as a session of its own, since some kernels share processors out among sessions first. What is not done, or fails, comes
# again in test_sanitized().
sanitized_beside() {
	rm -f "$BESIDE_LOG"
	# shellcheck disable=SC2016
	JOBS=$((JOBS > 2 ? 2 : JOBS)) BESIDE=$(basename "$BESIDE_LOG" .json) setsid bash -c '
		(echo 19 >/proc/self/autogroup) 2>/dev/null
		idle="nice -n 19"; chrt --idle 0 true 2>/dev/null && idle="$idle chrt --idle 0"
		for build; do $idle ./run build $build || exit; done
		exec $idle meson test -C build-asan --no-rebuild --suite unit --timeout-multiplier 0 --num-processes 2 --logbase "$BESIDE"' - \
		"build-asan $ASAN_SETUP" "build-tsan $TSAN_SETUP" >/dev/null 2>&1 &
	beside=$!
	trap 'kill -- -$beside 2>/dev/null' EXIT
}

sanitized_beside_end() {
	kill -- -"$beside" 2>/dev/null || true # what is left is not for idle time
	wait "$beside" || true
	trap - EXIT
}

# What has passed beside the other suites counts, and what a sanitizer ended there has failed. Anything else runs again: without
# a processor for long it may have missed a deadline of its own, and behind a check that fails threads run on without their test.
unit_asan() {
	local kept=build-asan/meson-logs/testlog-unit-asan-beside.json rest
	touch "$BESIDE_LOG"
	jq -cR 'fromjson? | select(.result == "OK" or .result == "SKIP" or
		((.stdout // "") + (.stderr // "") | test("Sanitizer|runtime error:") and (test("FAILED") | not)))' "$BESIDE_LOG" >"$kept"
	mapfile -t rest < <(meson test -C build-asan --no-rebuild --list --suite unit 2>/dev/null | sed -n 's|.* / ||p' | sort |
		comm -23 - <(jq -r '.name | sub(".* / "; "")' "$kept" | sort))
	count_results build-asan unit-asan-beside "$(wc -l <"$kept")"
	[ ${#rest[@]} -eq 0 ] || run_suite build-asan unit-asan "" -- "${rest[@]}" --suite unit --timeout-multiplier 4
}

test_plain() {
	local suite
	run_suite build lint "" -- --suite lint
	run_suite build unit "" -- --suite unit
	sanitized_beside
	for suite in $(suites); do
		case $suite in
		lint | unit | threads | torture | bench) ;; # threads: unit tests that TSan watches, too
		*) run_suite build "$suite" "" -- --suite "$suite" ;;
		esac
	done
}

test_sanitized() {
	local tests
	sanitized_beside_end
	# shellcheck disable=SC2086
	if build_or_fail build-asan $ASAN_SETUP; then
		unit_asan
		run_suite build-asan garbage-asan "" -- e2e/garbage
	fi
	# shellcheck disable=SC2086
	if build_or_fail build-tsan $TSAN_SETUP; then
		tests=$(meson test -C build-tsan --no-rebuild --list --suite unit 2>/dev/null | grep -E "threads|$TSAN_TESTS" |
			sed -n 's|.* / ||p' || true)
		# gcc 12's TSan cannot place its shadow memory where newer kernels randomise the stack: without randomisation it can
		# shellcheck disable=SC2086
		[ -n "$tests" ] && run_suite build-tsan threads-tsan "setarch $(uname -m) -R" -- $tests --timeout-multiplier 8
	fi
	return 0
}

suites() {
	meson test -C build --no-rebuild --list 2>/dev/null | sed -n 's/^[^:]*:\([^ ]*\) .*/\1/p' | tr + '\n' | sort -u
}

run_tests() { # [SUITE...]
	local suite
	trap interrupted INT TERM
	scripts/deps.sh || say "not everything could be installed; tests that need what is missing will be skipped"
	have jq || die "jq is not there: ./run deps"
	build_or_fail build || { echo "$passed passed, $failed failed, $skipped skipped"; exit 1; }
	for suite; do
		suites | grep -qxF "$suite" || die "no such suite: $suite; there are: $(suites | tr '\n' ' ')"
	done
	if [ $# -gt 0 ]; then
		for suite; do run_suite build "$suite" "" -- --suite "$suite"; done
	else
		test_plain
		test_sanitized
	fi
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}
