#!/bin/sh
# Runs the long tiers of the proofs and makes the table of their trials
# (docs/reliability.md). Each proof prints a line
#
#   proof: NAME trials=N violations=M
#
# and this script collects them in proofs.txt, newest last.
#
#   ./prove.sh crash          crash images, failing operations, damage (an hour on two cores)
#   ./prove.sh power          power cuts on a real ext4, full disks, failing system calls (root; half an hour)
#   ./prove.sh hostile        floods, spellings, rates, changes of a listener under load (ulimit -n 20000; a quarter of an hour)
#   ./prove.sh fuzz [TIER [WORD]]  all fuzz targets, or those with WORD in their name: T0 (hours), T1, T2,
#                             a number of executions, or a time for each (5m)
#   ./prove.sh faults [NAME...]    kills, partitions, hostile hosts and the others of the matrix against running appliances (half an hour)
#   ./prove.sh soak [DURATION]     half of the maximum load with a random fault a minute: 1h without
#   ./prove.sh table          the table of what was collected
#
# LAZARET_CRASH_ROUNDS, LAZARET_POWER_CUTS and the others of docs/testing.md
# change how long it takes. Run it at nice 19 beside other work.
set -eu
cd "$(dirname "$0")"
out=${LAZARET_PROOFS:-proofs.txt}

# run PACKAGE TESTS: go test, with the proof lines kept. A failure goes on and counts.
failed=0
run() {
	echo "== $1 $2"
	log=$(mktemp)
	go test -count=1 -v -timeout 12h -run "$2" "$1" >"$log" 2>&1 || failed=1
	grep -E '^(proof: |--- FAIL|FAIL|ok|    [a-z_]+_test.go)' "$log" || cat "$log"
	grep -E '^proof: ' "$log" | sed "s/\$/ at=$(date -u +%Y-%m-%dT%H:%MZ) commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)/" >>"$out" || true
	rm -f "$log"
}

# prove ARGUMENTS: faults against running appliances, with the proof lines kept.
prove() {
	log=$(mktemp)
	{ go run ./e2e/prove "$@" || echo failed >"$log.bad"; } | tee "$log"
	[ ! -e "$log.bad" ] || failed=1
	grep -E '^proof: ' "$log" | sed "s/\$/ at=$(date -u +%Y-%m-%dT%H:%MZ) commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)/" >>"$out" || true
	rm -f "$log" "$log.bad"
}

table() {
	echo "| proof | trials | violations |"
	echo "|---|---|---|"
	sed -n 's/^proof: \([^ ]*\) trials=\([0-9]*\) violations=\([0-9]*\).*/\1 \2 \3/p' "$out" |
		awk '{ n[$1] += $2; bad[$1] += $3 } END { for (k in n) printf "| %s | %d | %d |\n", k, n[k], bad[k] }' | sort
}

# executions TIER TARGET: how often a fuzz target runs.
executions() {
	case "$2" in
	smtp/FuzzContent) n=488280 ;;
	smtp/FuzzReply | cpq/*) n=200000 ;;
	message/* | mail/*) n=2000000 ;;
	spool/*) n=1000000 ;;
	*) n=100000 ;;
	esac
	case "$1" in
	T0) echo "$n" ;;
	T1) echo "${n}00" ;;
	T2) echo "${n}000" ;;
	*) echo "$1" ;;
	esac
}

# fuzz TIER WORD: each target for its number of executions.
fuzz() {
	case "$1" in
	T0 | T1 | T2) ;;
	[0-9]*[smh]) case "${1%?}" in *[!0-9]*) echo "$1 is not a time such as 5m" >&2; exit 2 ;; esac ;;
	*[!0-9]* | "") echo "tier $1: it is T0, T1, T2, a number or a time" >&2; exit 2 ;;
	esac
	for t in $(grep -rE '^func Fuzz' --include='*_test.go' internal | sed -E 's#^internal/(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]+).*#\1/\2#' | grep -E -- "$2" | sort -u); do
		n=$(executions "$1" "$t")
		log=$(mktemp)
		bad=0
		case "$n" in *[smh]) ;; *) n=${n}x ;; esac
		go test -run '^$' -fuzz "^${t##*/}\$" -fuzztime "$n" -timeout 0 "./internal/${t%/*}" >"$log" 2>&1 || bad=1
		done=$(sed -n 's/^fuzz: .*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
		[ $bad = 0 ] || { cat "$log"; failed=1; }
		rm -f "$log"
		echo "proof: fuzz/$t trials=${done:-0} violations=$bad"
		echo "proof: fuzz/$t trials=${done:-0} violations=$bad at=$(date -u +%Y-%m-%dT%H:%MZ) commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" >>"$out"
	done
}

case "${1:-}" in
fuzz)
	fuzz "${2:-T0}" "${3:-.}"
	;;
crash)
	: "${LAZARET_CRASH_ROUNDS:=60}"
	export LAZARET_CRASH_ROUNDS
	run ./internal/disk 'TestReplace|TestFull|TestStall'
	run ./internal/spool 'TestCrashAtEveryOperation|TestFail|TestFullDisk|TestDamaged'
	run ./internal/blob 'TestCrash|TestFail|TestPowerCut|TestDamage|TestFullDiskAnswers'
	run ./internal/config 'TestSaveCrash|TestSaveFails|TestDamagedFile'
	run ./internal/appliance 'TestState'
	run ./internal/store 'TestKill|TestNoRoom|TestSQLiteCrashAtEveryOperation|TestSQLiteFail'
	LAZARET_MANAGERS_SECONDS=120 run ./internal/store 'TestSeveralManagers'
	LAZARET_LINEAR_ROUNDS=1000000 run ./internal/quarantine 'TestLinear$'
	;;
power)
	: "${LAZARET_POWER_CUTS:=100}"
	export LAZARET_POWER_CUTS
	run ./e2e 'TestPowerCut|TestDiskFull|TestFailingSystemCall'
	;;
hostile)
	: "${LAZARET_FLOOD:=9000}" "${LAZARET_RELOAD_ROUNDS:=1000}"
	export LAZARET_FLOOD LAZARET_RELOAD_ROUNDS
	run ./internal/listener 'SEC_|F22|Rates|Floors'
	run ./internal/smtp 'SEC_B9|SEC_B10'
	;;
faults)
	shift
	[ $# -gt 0 ] || set -- F1 F2 F3 F10 F11 F13 F18 F19 F20 F21 F22 release
	prove "$@"
	set -- faults
	;;
soak)
	prove --duration "${2:-1h}" soak
	;;
table)
	table
	;;
*)
	awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
	exit 2
	;;
esac
[ "$1" = table ] || table
exit $failed
