package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"lazaret/internal/dns"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
	"lazaret/internal/testlib"
)

// launch starts a demonstration in dir, at ports that no other test knows, and
// gives what it announces. cancel ends it; done says how it ended.
func launch(t *testing.T, dir string) (a announced, cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	base := testlib.FreePorts(t, 9)[0]
	go func() {
		ended <- Run(ctx, Options{Dir: dir, PortBase: base, JSON: true, Stdout: in, Stderr: io.Discard})
	}()
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		cancel()
		t.Fatalf("%v, %v", err, <-ended)
	}
	return a, cancel, ended
}

// pair runs the manager and the first gateway of a demonstration that was made,
// without its mailbox, to the end of the test.
func pair(t *testing.T, a announced) (*manager.Manager, *gateway.Gateway) {
	t.Helper()
	m, err := manager.New(manager.Options{Dir: a.Manager.Dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{Dir: a.Gateways[0].Dir, Resolver: &dns.Fake{}, Trouble: io.Discard})
	if err != nil {
		t.Fatal(errors.Join(err, m.Close()))
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(m.Start(context.Background()), g.Start(context.Background())); err != nil {
		t.Fatal(err)
	}
	return m, g
}
