package testlib

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	"lazaret/internal/loopback"
)

// Absent skips a test that needs a program which is not installed. Where
// LAZARET_PEERS is "all", as test.sh sets it after it has installed them, the
// test fails: nothing is left out unnoticed.
func Absent(t testing.TB, what ...any) {
	t.Helper()
	if os.Getenv("LAZARET_PEERS") == "all" {
		t.Fatal("LAZARET_PEERS=all: ", fmt.Sprint(what...))
	}
	t.Skip(what...)
}

// given holds the ports that this process has got.
var given sync.Map

// FreePort gives a port of 127.0.0.1 that is free for TCP and UDP now, outside
// those of outgoing connections.
func FreePort(t testing.TB) netip.AddrPort {
	t.Helper()
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(FreePorts(t, 1)[0]))
}

// FreePorts gives n such ports in a row, none of them twice.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	for {
		got, err := loopback.FreePorts(n)
		if err != nil {
			t.Fatal(err)
		}
		fresh := true
		for _, port := range got {
			_, old := given.LoadOrStore(port, true)
			fresh = fresh && !old
		}
		if fresh {
			return got
		}
	}
}
