package testlib

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
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

// The ports given lie below those that systems give to outgoing connections
// (32768 on Linux, 49152 by RFC 6335): such a connection of another test cannot
// take one before it is bound, or while a server is started again.
const firstPort, ports = 20000, 12000

// next counts the ports given by this process, from a place of its own.
var next = func() *atomic.Uint32 { n := &atomic.Uint32{}; n.Store(rand.Uint32N(ports)); return n }()

// FreePort gives a port of 127.0.0.1 that is free for TCP and UDP now, and is
// not given again by this process.
func FreePort(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 200 {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(firstPort+next.Add(1)%ports))
		tcp, err := net.Listen("tcp4", at.String())
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp4", at.String())
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return at
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return netip.AddrPort{}
}
