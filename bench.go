package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"lazaret/internal/bench"
)

// benchKinds are the words behind lazaret bench.
var benchKinds = []struct {
	name string
	run  func(context.Context, bench.Options) error
}{
	{"all", bench.All},
	{"relay", bench.Relay},
	{"circle", bench.Circle},
	{"release", bench.Release},
	{"backlog", bench.Backlog},
	{"search", bench.Search},
	{"fill", bench.Fill},
}

const benchArgs = "all|relay|postfix|circle|release|backlog|search|fill [--messages N] [--sessions N] [--size OCTETS] [--runs N] [--dir DIR] [--json]"

const benchHelp = `Usage: lazaret bench KIND [OPTIONS]
Measures this machine. Everything it starts, on loopback, ends with it.

KIND
  all        all of these, in some ten minutes on two cores; --messages shortens it
  relay      mail through a gateway to a sink: taken in durably, judged, delivered
  postfix    the same with Postfix beside it, in turn, and the ratio; load by
             smtp-source and smtp-sink (relay --peer postfix --tools)
  circle     mail through a gateway over CPQ into a manager, until it is held and
             found; --peer postfix: beside Postfix with its hold queue
  release    a decision about all that is held, and its way home to the sink
  backlog    a gateway whose next hop is down: memory of a waiting message, and the
             start behind kill -9
  fill N     N realistic messages into the quarantines of the manager in --dir,
             which is made when there is none and must not be running
  search     searches in the manager in --dir; without --dir one is filled first

OPTIONS
  --messages N     of one run (relay 15000, circle and release 5000, search
                   20000, backlog 100000)
  --sessions N     connections of the load generator (20), depositors of fill (32)
  --size OCTETS    of one message (4096); for fill and search the mean
  --runs N         median, least and most are given (3; release 1, search 20)
  --rate N         messages a second, to see the latency below full load
  --stall 20ms     relay: each flush of the queue takes so much longer, as on a disk
                   that stalls; a message that is refused then is an error
  --peer postfix   or postfix-default: measured in turn with us
  --alone          all without Postfix, also where it is installed
  --direct         backlog: put the messages into the queue, in place of sending them;
                   for a million, which so takes a minute
  --clamd ADDRESS  relay: have each message scanned by the clamd at this socket or
                   host:port, and measure that alone too
  --tools          load by smtp-source and smtp-sink, where Postfix is installed
  --dir DIR        work there, on the disk that counts; otherwise in a temporary directory
  --keep           leave there what was made
  --profile DIR    write profiles of CPU and allocations (go tool pprof)
  --json           one line of JSON in place of a table
`

func runBench(ctx context.Context, e env, args []string) (int, error) {
	if len(args) > 0 && args[0] == "part" { // one of the processes of a measurement
		return 0, bench.Part(ctx, args[1:], unpackWorker(), e.stdin, e.stdout, e.stderr)
	}
	if len(args) == 0 {
		return 0, usageError{errors.New("say what to measure")}
	}
	if args[0] == "help" || strings.HasPrefix(args[0], "-h") || args[0] == "--help" {
		_, err := fmt.Fprint(e.stdout, benchHelp)
		return 0, err
	}
	o, rest, err := benchOptions(e, args[0], args[1:])
	if errors.Is(err, flag.ErrHelp) {
		_, err := fmt.Fprint(e.stdout, benchHelp)
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	kind := args[0]
	if kind == "postfix" {
		kind, o.Tools = "relay", true
		if o.Peer == "" {
			o.Peer = "postfix"
		}
	}
	for _, k := range benchKinds {
		if k.name != kind {
			continue
		}
		if len(rest) > 0 {
			return 0, usageError{fmt.Errorf("unexpected argument %q", rest[0])}
		}
		return 0, k.run(ctx, o)
	}
	return 0, usageError{fmt.Errorf("there is nothing called %q to measure", args[0])}
}

// benchOptions reads the words behind the kind; N may stand before the options.
func benchOptions(e env, kind string, args []string) (bench.Options, []string, error) {
	o := bench.Options{Stdout: e.stdout, Stderr: e.stderr}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.Messages, "messages", 0, "")
	f.IntVar(&o.Sessions, "sessions", 0, "")
	f.IntVar(&o.Size, "size", 0, "")
	f.IntVar(&o.Runs, "runs", 0, "")
	f.IntVar(&o.Rate, "rate", 0, "")
	f.DurationVar(&o.Stall, "stall", 0, "")
	f.StringVar(&o.Peer, "peer", "", "")
	f.BoolVar(&o.Tools, "tools", false, "")
	f.BoolVar(&o.Alone, "alone", false, "")
	f.StringVar(&o.Dir, "dir", "", "")
	f.StringVar(&o.Clamd, "clamd", "", "")
	f.BoolVar(&o.Direct, "direct", false, "")
	f.BoolVar(&o.Keep, "keep", false, "")
	f.StringVar(&o.Profile, "profile", "", "")
	f.BoolVar(&o.JSON, "json", false, "")
	if kind == "fill" && len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			o.Messages, args = n, args[1:]
		}
	}
	rest, err := parse(f, args)
	if err != nil {
		return o, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return o, nil, err
	}
	o.Program = []string{self, "bench", "part"}
	return o, rest, nil
}
