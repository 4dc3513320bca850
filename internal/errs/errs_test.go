package errs

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

// A kind survives wrapping by others; causes never reach what is shown.
func TestKinds(t *testing.T) {
	cause := errors.New("disk on fire")
	e := fmt.Errorf("outer: %w", Wrap(Full, cause, "no room for the message"))
	if !Is(e, Full) || Is(nil, Full) || KindOf(cause) != Internal {
		t.Error("kinds are lost")
	}
	if Public(e) != "no room for the message" || Public(cause) != "internal error" {
		t.Errorf("public text %q, %q", Public(e), Public(cause))
	}
	if !errors.Is(e, cause) || e.Error() != "outer: no room for the message: disk on fire" {
		t.Errorf("cause is lost: %v", e)
	}
	if KindOf(Context(e, "storing")) != Full || Wrap(Full, nil, "x") != nil {
		t.Error("context changes the kind")
	}
}

// An address is said once, by who knows what was being done.
func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, taken := net.Listen("tcp", l.Addr().String())
	if got := Network(fmt.Errorf("x: %w", taken)); got.Error() != "address already in use" || !errors.Is(got, syscall.EADDRINUSE) {
		t.Errorf("%v", got)
	}
	if plain := errors.New("plain"); Network(plain) != plain || Network(nil) != nil {
		t.Error("another error is changed")
	}
}
