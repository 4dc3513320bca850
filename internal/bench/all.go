package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"lazaret/internal/errs"
)

// All makes every measurement, with Postfix beside it where that can run, in
// some ten minutes on two cores. Messages shortens it: it is the number of the
// relay, and the others follow in proportion.
func All(ctx context.Context, o Options) error {
	if o.Messages == 0 {
		o.Messages = 15000
	}
	peer := peerTuned
	if o.Alone {
		peer = ""
	} else if err := findPostfix(true); err != nil {
		o.say("without Postfix: %s", err)
		peer = ""
	}
	for _, s := range steps {
		one := o
		one.Messages = max(s.messages*o.Messages/15000, 20)
		one.Sessions, one.Size, one.Runs = s.sessions, s.size, s.runs
		if s.peer {
			one.Peer, one.Tools = peer, peer != "" && s.tools
		}
		if !o.JSON {
			if _, err := fmt.Fprintf(o.Stdout, "\n# %s\n", s.title); err != nil {
				return err
			}
		}
		if o.JSON {
			o.say("# %s", s.title)
		}
		if err := s.run(ctx, one); err != nil {
			return errs.Context(err, "%s", s.title)
		}
	}
	return nil
}

// steps are the measurements of All. Numbers are those of a run of 15,000.
var steps = []struct {
	title                          string
	messages, sessions, size, runs int
	peer, tools                    bool
	run                            func(context.Context, Options) error
}{
	{"mail through a gateway, 20 sessions", 15000, 20, 4096, 5, true, true, Relay},
	{"100 sessions", 15000, 100, 4096, 3, true, true, Relay},
	{"64 KiB", 6000, 20, 65536, 3, true, true, Relay},
	{"one session", 4000, 1, 4096, 3, true, true, Relay},
	{"built-in load, then half of it, then a stalling disk", 15000, 20, 4096, 3, false, false, halfLoad},
	{"into quarantine", 5000, 20, 4096, 3, true, false, Circle},
	{"out of quarantine", 5000, 20, 4096, 3, false, false, Release},
	{"next hop down", 1_000_000, 100, 1024, 3, false, false, Backlog},
	{"searches", 100_000, 32, 4096, 20, false, false, fillAndSearch},
}

// halfLoad measures what goes through, and the latency at half of that: as the
// disk is, and with 20 ms more for each flush.
func halfLoad(ctx context.Context, o Options) error {
	r, err := o.relayed(ctx)
	if err != nil {
		return err
	}
	if err := r.write(o.Stdout, o.JSON); err != nil {
		return err
	}
	o.Rate = max(1, int(r.find(lazaret+" delivered").Median/2))
	if err := Relay(ctx, o); err != nil {
		return err
	}
	o.Stall = 20 * time.Millisecond
	return Relay(ctx, o)
}

// fillAndSearch fills a manager, says how fast, and searches in it.
func fillAndSearch(ctx context.Context, o Options) (err error) {
	dir, remove, err := o.place("search")
	if err != nil {
		return err
	}
	defer func() {
		if e := remove(); err == nil {
			err = e
		}
	}()
	o.Dir = filepath.Join(dir, "manager")
	fill := o
	fill.Runs = 1
	if err := Fill(ctx, fill); err != nil {
		return err
	}
	return Search(ctx, o)
}
