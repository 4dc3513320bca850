// Package loopback finds free ports for what we start beside us: the parts of a
// demonstration, of a measurement, of a test.
package loopback

import (
	"math/rand/v2"
	"net"
	"strconv"

	"lazaret/internal/errs"
)

// First and Ports bound the ports given. They lie below those that a system
// gives to outgoing connections (32768 on Linux, 49152 by RFC 6335 section 6):
// no such connection can take one between its choice and its use, or while a
// server is started again.
const First, Ports = 20000, 12000

// tries bounds the search.
const tries = 200

// FreePorts gives n ports in a row that are free for TCP and UDP on 127.0.0.1
// now. The search begins at a random place, so that programs that look at the
// same time rarely meet. n is at most 100. An errs.Conflict when there are none.
func FreePorts(n int) ([]int, error) {
	if n < 1 || n > 100 {
		return nil, errs.New(errs.Invalid, "%d ports: it is 1 to 100", n)
	}
	for range tries {
		from := First + rand.IntN(Ports-n)
		out := make([]int, 0, n)
		for port := from; port < from+n && free(port); port++ {
			out = append(out, port)
		}
		if len(out) == n {
			return out, nil
		}
	}
	return nil, errs.New(errs.Conflict, "no %d ports in a row are free from %d to %d", n, First, First+Ports)
}

func free(port int) bool {
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	tcp, err := net.Listen("tcp4", at)
	if err != nil {
		return false
	}
	_ = tcp.Close()
	udp, err := net.ListenPacket("udp4", at)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
