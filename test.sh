#!/bin/sh
# Runs every test of the short tier. On a fresh Debian machine with Go it
# installs the real programs that the tests talk to: OpenSSH, OpenSSL, swaks,
# telnet, Postfix, Unbound, clamd, Rspamd, strace, PostgreSQL, versitygw, python3.
# Exits non-zero when anything is wrong.
#
#   ./test.sh          the short tier, as in CI (under 15 minutes on two cores)
#   ./test.sh quick    the same without the race detector
#
# The long proofs have their own commands: docs/testing.md.
set -eu
cd "$(dirname "$0")"

need=""
want() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || need="$need $2"; }
want ssh openssh-client
want sshpass sshpass
want openssl openssl
want swaks swaks
perl -MNet::SSLeay -e1 2>/dev/null || need="$need libnet-ssleay-perl" # swaks speaks TLS with it
want telnet telnet
want smtp-source postfix
want unbound unbound
want clamd clamav-daemon
want rspamd rspamd
want ldns-signzone ldnsutils
want gcc gcc
want strace strace
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || need="$need postgresql"
want mkfs.ext4 e2fsprogs
want mount mount
want pgrep procps
want 7z p7zip-full
want bzip2 bzip2
want python3 python3
if [ -n "$need" ]; then
	echo "installing:$need"
	run=""
	[ "$(id -u)" = 0 ] || run=sudo
	$run apt-get update -q >/dev/null
	# shellcheck disable=SC2086
	$run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $need libc6-dev >/dev/null
fi

echo "== S3 server for tests" # a module of its own: nothing of it is in the product's go.mod
go -C tools/s3 install github.com/versity/versitygw/cmd/versitygw

race=-race
[ "${1:-}" = quick ] && race=""

echo "== format"
out=$(gofmt -l main.go internal e2e)
[ -z "$out" ] || { echo "gofmt would change:"; echo "$out"; exit 1; }

echo "== vet"
go vet ./...

echo "== build without cgo"
CGO_ENABLED=0 go build -trimpath -o /dev/null .

echo "== staticcheck"
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./... 

echo "== tests"
export LAZARET_PEERS=all # what is installed above is not left out: see internal/testlib
# SQLite, which is C made into Go, takes most of the time of the tests around it
# when it is watched as well. What happens in it is not ours to find.
sqlite=""
[ -z "$race" ] || sqlite="-gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false"
# shellcheck disable=SC2086
go test $race $sqlite -timeout 12m ./...

if [ -n "$race" ]; then
	echo "== proofs of which a share or nothing runs with the race detector"
	go test -run 'TestMemoryOfWaitingMessages|TestCrashAtEveryOperation|TestPowerCut|TestFullDiskAnswers|TestSEC_B1|TestSEC_C2_Memory|TestSEC_C4' ./internal/spool ./internal/blob ./internal/smtp ./internal/message ./internal/unpack ./internal/pipeline
fi
echo "all tests passed"
