// Package bench measures this program on the machine it runs on, so that
// anybody can size one: mail through a gateway, mail into and out of the
// quarantine, searches, and the same load on Postfix beside it.
//
// It measures the product as it is sold: gateways and managers are made by
// appliance.Init with an ordinary configuration and run as processes of their
// own, so that the CPU time of each is known. Load generator and sink are
// processes of the same binary. It promises that everything it starts ends
// with it, even when it is killed, and that it touches nothing but the
// directory it was given or made.
//
// It is not a test: it judges no figure.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lazaret/internal/errs"
)

// Options of a measurement. Zero numbers get the defaults of the kind.
type Options struct {
	Dir      string        // to work in; "": a temporary one, removed at the end
	JSON     bool          // the result as one line of JSON in place of a table
	Messages int           // of one run
	Sessions int           // of the load generator
	Size     int           // octets of a message
	Runs     int           // of which median, least and most are given
	Rate     int           // messages a second; 0: as many as go through
	Stall    time.Duration // how much longer each flush of the gateway's queue takes
	Peer     string        // "", postfix or postfix-default: measured in turn with us
	Tools    bool          // load by smtp-source and smtp-sink, which come with Postfix
	Alone    bool          // All without a peer
	Direct   bool          // backlog: what waits is put into the queue, not sent
	Keep     bool          // leave the directory
	Clamd    string        // relay: the antivirus engine that scans each message, and is measured alone as well; "": none
	Profile  string        // directory for CPU and allocation profiles of the roles; "": none
	Program  []string      // how to start one part: the binary and its words
	Stdout   io.Writer
	Stderr   io.Writer // progress
}

// limits of what can be asked for.
const (
	maxMessages = 100_000_000
	maxSessions = 5000
	maxSize     = 100 << 20
	minSize     = 256
	maxRuns     = 100
)

// check fills in defaults and refuses what makes no sense.
func (o *Options) check(messages, sessions, size, runs int) error {
	for _, f := range []struct {
		name          string
		v             *int
		def, min, max int
	}{
		{"--messages", &o.Messages, messages, 1, maxMessages},
		{"--sessions", &o.Sessions, sessions, 1, maxSessions},
		{"--size", &o.Size, size, minSize, maxSize},
		{"--runs", &o.Runs, runs, 1, maxRuns},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.min || *f.v > f.max {
			return errs.New(errs.Invalid, "%s %d: it is %d to %d", f.name, *f.v, f.min, f.max)
		}
	}
	if o.Rate < 0 {
		return errs.New(errs.Invalid, "--rate %d: it is not negative", o.Rate)
	}
	if o.Stall < 0 || o.Stall > time.Minute {
		return errs.New(errs.Invalid, "--stall %s: it is 0 to 1m", o.Stall)
	}
	if o.Stall > 0 && o.Peer != "" {
		return errs.New(errs.Invalid, "--stall: %s has no such thing", o.Peer)
	}
	switch o.Peer {
	case "", peerTuned, peerDefault:
	default:
		return errs.New(errs.Invalid, "--peer %q: there are %s and %s", o.Peer, peerTuned, peerDefault)
	}
	if o.Tools && o.Rate > 0 {
		return errs.New(errs.Invalid, "--rate: smtp-source has no such thing")
	}
	if o.Peer != "" || o.Tools {
		return findPostfix(o.Peer != "")
	}
	return nil
}

// say tells of progress.
func (o *Options) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Stderr, format+"\n", args...)
}

// place makes the directory of a measurement below Dir, or a temporary one.
// The function it gives removes it.
func (o *Options) place(name string) (dir string, remove func() error, err error) {
	if o.Dir == "" {
		if dir, err = os.MkdirTemp("", "lazaret-bench"); err != nil {
			return "", nil, errs.Wrap(errs.Internal, err, "temporary directory")
		}
		if o.Peer != "" { // Postfix has to get in as another user
			if err := os.Chmod(dir, 0o711); err != nil {
				return "", nil, errs.Wrap(errs.Internal, err, "temporary directory")
			}
		}
	} else {
		if dir, err = filepath.Abs(filepath.Join(o.Dir, name)); err != nil {
			return "", nil, errs.Wrap(errs.Invalid, err, "--dir")
		}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil { // Postfix has to get in as another user
			return "", nil, errs.Wrap(errs.Invalid, err, "--dir")
		}
		if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
			return "", nil, errs.New(errs.Conflict, "%s is there already: remove it, or choose another --dir", dir)
		} else if err != nil {
			return "", nil, errs.Wrap(errs.Invalid, err, "--dir")
		}
	}
	if o.Keep {
		return dir, func() error { return nil }, nil
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// patience bounds one run, so that nothing hangs for ever: ten messages a
// second is slower than any machine.
func patience(messages int) time.Duration {
	return time.Minute + time.Duration(messages)*100*time.Millisecond
}

// bounded limits a run in time.
func bounded(ctx context.Context, messages int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience(messages), errs.New(errs.Temporary, "the run did not come to its end: %d messages in %s", messages, patience(messages)))
}
