package adminssh

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

// serveLocal listens in a directory deeper than an address has room for.
func serveLocal(t *testing.T, b *bench) string {
	t.Helper()
	dir := filepath.Join(b.dir, strings.Repeat("deep/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cli.sock")
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v %v", info.Mode(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.ServeLocal(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is left behind")
		}
	})
	return path
}

func TestLocal(t *testing.T) {
	b := start(t, Limits{})
	path := serveLocal(t, b)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	run := func(line, stdin string) (string, int, string) {
		var out bytes.Buffer
		in := strings.NewReader(stdin)
		status, err := Local(t.Context(), path, line, in, &out)
		if err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(in)
		return out.String(), status, string(rest)
	}
	if out, status, _ := run("who", ""); status != 0 || out != me.Username+"|Administrator|local|socket\n" {
		t.Errorf("%q %d", out, status)
	}
	if out, status, rest := run("fail", "for the next command"); status != 3 || out != "" || rest != "for the next command" {
		t.Errorf("%q %d, input left %q", out, status, rest)
	}
	if out, _, _ := run("read", "one\ntwo\n"); out != "<one>\n<two>\n" {
		t.Errorf("%q", out)
	}
	if out, _, _ := run("big", ""); len(out) != 1<<20 {
		t.Errorf("a MiB came out as %d bytes", len(out))
	}
	if _, err := ListenLocal(path); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second appliance took the socket: %v", err)
	}
	if _, err := Local(t.Context(), path+"x", "who", nil, io.Discard); !errs.Is(err, errs.NotFound) {
		t.Errorf("no appliance: %v", err)
	}
}

// The caller's Ctrl-C closes its connection, and that ends what runs.
func TestLocalGone(t *testing.T) {
	b := start(t, Limits{})
	path := serveLocal(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Local(ctx, path, "follow", nil, io.Discard)
		done <- err
	}()
	<-b.runner.running
	cancel()
	<-b.runner.running
	if err := <-done; err == nil {
		t.Error("a cancelled command gave a status")
	}
}

// Frames that lie about their size, or are none, end the connection.
func TestLocalGarbage(t *testing.T) {
	b := start(t, Limits{})
	path := serveLocal(t, b)
	for _, junk := range []string{"L\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n", "D\x00\x00\x00\x01x", "L\x00\x00"} {
		c, err := dialLocal(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, junk); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); len(got) > 0 {
			t.Errorf("%q was answered: %q %v", junk, got, err)
		}
		c.Close()
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := NewKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKey(path)
	if err != nil || !bytes.Equal(k.PublicKey().Marshal(), again.PublicKey().Marshal()) {
		t.Errorf("not the same key: %v", err)
	}
	if _, err := NewKey(path); err == nil {
		t.Error("a key was overwritten")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); !errs.Is(err, errs.Invalid) {
		t.Errorf("a key that all may read was loaded: %v", err)
	}
	if _, err := LoadKey(path + "x"); !errs.Is(err, errs.NotFound) {
		t.Errorf("no key: %v", err)
	}
}
