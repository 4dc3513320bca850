package loopback

import (
	"net"
	"strconv"
	"testing"
)

func TestFreePorts(t *testing.T) {
	got, err := FreePorts(9)
	if err != nil || len(got) != 9 {
		t.Fatalf("%v %v", got, err)
	}
	for i, port := range got {
		if port != got[0]+i || port < First || port >= First+Ports {
			t.Errorf("%v: %d is not in a row, or not in the range", got, port)
		}
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		if free(port) {
			t.Errorf("%d is taken, and said to be free", port)
		}
		_ = l.Close()
	}
	for _, n := range []int{0, -1, 101} {
		if _, err := FreePorts(n); err == nil {
			t.Errorf("%d ports are given", n)
		}
	}
}
