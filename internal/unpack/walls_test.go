package unpack_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"lazaret/internal/unpack"
)

// attempts tries, inside the worker, what it may not, and gives what it could do.
func attempts() (done []string) {
	try := func(what string, err error) {
		if err == nil {
			done = append(done, what)
		} else {
			done = append(done, "refused: "+what)
		}
	}
	_, err := os.ReadFile("/etc/passwd")
	try("read a file", err)
	_, err = os.Create("/tmp/lazaret-escape")
	try("make a file", err)
	_, err = os.ReadDir("/")
	try("list a directory", err)
	try("remove a file", os.Remove("/tmp/lazaret-escape-not-there"))
	c, err := net.Dial("tcp", "127.0.0.1:1")
	if c != nil {
		_ = c.Close()
	}
	try("connect", permission(err))
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	try("start a program", exec.Command("/bin/true").Run())
	return done
}

// permission tells a refusal from a port where nobody listens.
func permission(err error) error {
	if err != nil && strings.Contains(err.Error(), "refused") {
		return nil
	}
	return err
}

// Register A1, A2: in the worker there is no way to files, network or programs.
func TestSEC_A1_WorkerIsShutIn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("walls stand on Linux only")
	}
	var missing []string
	p := newPool(t, unpack.Options{Workers: 1, Warn: func(s string) { missing = append(missing, s) }})
	g := open(t, p, "escape", []byte("x"))
	n := 0
	for _, f := range g.Findings {
		if f.Kind == unpack.Link {
			n++
			if !strings.HasPrefix(f.Detail, "refused: ") {
				t.Errorf("the worker could %s", f.Detail)
			}
		}
	}
	if n != 7 {
		t.Errorf("%d attempts: %s", n, g)
	}
	if len(missing) > 0 && !raceDetector {
		t.Errorf("walls that do not stand: %v", missing)
	}
	if g = open(t, p, "x.zip", zipOf(t, entry{"a", eicar()})); !g.has(string(eicar())) {
		t.Errorf("%s", g)
	}
}
