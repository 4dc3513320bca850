package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
)

// ready is the first line of a part.
type ready struct {
	Addr string `json:"addr,omitempty"`
}

// Part is the life of one child: PART and its flags. It ends with its input. A
// gateway opens attachments by worker (gateway.Options.Worker).
func Part(ctx context.Context, args, worker []string, in io.Reader, out, stderr io.Writer) error {
	if len(args) == 0 {
		return errs.New(errs.Invalid, "a part is missing")
	}
	f := flag.NewFlagSet("part", flag.ContinueOnError)
	f.SetOutput(stderr)
	dir := f.String("dir", "", "")
	listen := f.String("listen", "127.0.0.1:0", "")
	profile := f.String("profile", "", "")
	stall := f.Duration("stall", 0, "")
	if err := f.Parse(args[1:]); err != nil {
		return errs.Wrap(errs.Invalid, err, "part %s", args[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &part{ctx: ctx, worker: worker, out: json.NewEncoder(out), requests: make(chan []byte)}
	go p.read(in, cancel)
	var err error
	switch args[0] {
	case "source":
		err = p.source()
	case "sink":
		err = p.sink(*listen)
	case "pile":
		err = p.pile(*dir)
	case "postfix":
		err = p.postfix(*dir)
	case "gateway", "manager":
		err = p.role(roleFlags{role: args[0], dir: *dir, profile: *profile, stall: *stall}, stderr)
	default:
		err = errs.New(errs.Invalid, "there is no part %q", args[0])
	}
	return err
}

// part is what all parts have.
type part struct {
	ctx      context.Context
	worker   []string
	out      *json.Encoder
	requests chan []byte
}

// read passes on requests until the input ends, and with it the part.
func (p *part) read(in io.Reader, cancel func()) {
	defer cancel()
	s := bufio.NewScanner(in)
	for s.Scan() {
		select {
		case p.requests <- append([]byte(nil), s.Bytes()...):
		case <-p.ctx.Done():
			return
		}
	}
}

// next gives the next request; false at the end.
func (p *part) next(v any) (bool, error) {
	select {
	case b := <-p.requests:
		if err := json.Unmarshal(b, v); err != nil {
			return false, errs.Wrap(errs.Invalid, err, "request %q", b)
		}
		return true, nil
	case <-p.ctx.Done():
		return false, nil
	}
}

func (p *part) say(v any) error {
	return errs.Wrap(errs.Closed, p.out.Encode(v), "answering")
}

// runner is an appliance of either role.
type runner interface {
	Start(ctx context.Context) error
	Failed() <-chan error
	Close() error
}

// roleFlags say which role runs, and how.
type roleFlags struct {
	role, dir, profile string
	stall              time.Duration
}

// role runs a gateway or a manager.
func (p *part) role(f roleFlags, stderr io.Writer) (err error) {
	stop, err := profileTo(f.profile, f.role)
	if err != nil {
		return err
	}
	defer func() {
		if e := stop(); err == nil {
			err = e
		}
	}()
	var r runner
	if f.role == "gateway" {
		r, err = gateway.New(gateway.Options{Dir: f.dir, Trouble: stderr, Worker: p.worker, Stall: f.stall})
	} else {
		r, err = manager.New(manager.Options{Dir: f.dir, Trouble: stderr})
	}
	if err != nil {
		return err
	}
	if err = r.Start(p.ctx); err == nil {
		err = p.say(ready{})
	}
	for err == nil && p.ctx.Err() == nil {
		select {
		case <-p.requests: // {"gc":1}: what is held, not what is not yet collected
			runtime.GC()
			err = p.say(ready{})
		case <-p.ctx.Done():
		case err = <-r.Failed():
		}
	}
	if e := r.Close(); err == nil {
		err = e
	}
	return err
}

// profileTo writes profiles of this process into a directory, when it is given.
func profileTo(dir, name string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(dir, name+".cpu.pprof"))
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "--profile")
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errs.Wrap(errs.Internal, err, "--profile")
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			return err
		}
		a, err := os.Create(filepath.Join(dir, name+".allocs.pprof"))
		if err != nil {
			return err
		}
		if err := pprof.Lookup("allocs").WriteTo(a, 0); err != nil {
			return fmt.Errorf("writing a profile: %w", err)
		}
		return a.Close()
	}, nil
}
