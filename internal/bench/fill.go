package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/manager"
	"lazaret/internal/quarantine"
)

// Fill puts a number of realistic messages into the quarantines of the manager
// in Dir, which must not be running; where there is none, one is made. The same
// number gives the same messages each time, and a second Fill adds more.
func Fill(ctx context.Context, o Options) error {
	if o.Dir == "" {
		return errs.New(errs.Invalid, "--dir is missing: the manager to be filled")
	}
	if err := o.check(1_000_000, 32, 4096, 1); err != nil {
		return err
	}
	if o.Tools || o.Peer != "" {
		return errs.New(errs.Invalid, "--tools and --peer: only relay and circle have them")
	}
	r := newResult("fill", map[string]any{"messages": o.Messages, "mean size": o.Size})
	began := time.Now()
	if err := o.fill(ctx); err != nil {
		return err
	}
	r.add("filled", "messages/s", float64(o.Messages)/time.Since(began).Seconds())
	used, err := diskUse(o.Dir)
	if err != nil {
		return err
	}
	r.add("disk, with what was there before", "MiB", float64(used)/(1<<20))
	r.close()
	return r.write(o.Stdout, o.JSON)
}

// fill opens the manager and deposits as a gateway would.
func (o *Options) fill(ctx context.Context) (err error) {
	m, err := o.openManager()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWorld(o.Size)
	start := uint64(m.LastMID())
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range o.Sessions {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(o.Messages) && ctx.Err() == nil; n = next.Add(1) {
				if err := w.deposit(ctx, m, start+uint64(n)); err != nil {
					cancel(err)
					return
				}
				if d := done.Add(1); d%50_000 == 0 {
					o.say("%d of %d", d, o.Messages)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// openManager opens the manager in Dir, made when there is none.
func (o *Options) openManager() (*manager.Manager, error) {
	if _, err := os.Stat(filepath.Join(o.Dir, appliance.ConfigName)); errors.Is(err, os.ErrNotExist) {
		if _, err := newManager(o.Dir); err != nil {
			return nil, err
		}
	}
	return manager.New(manager.Options{Dir: o.Dir, Trouble: o.Stderr})
}

// fillSerial is the gateway that the messages say they come from.
const fillSerial = "BENCHFILL0000001"

// deposit makes message n and gives it to the quarantine.
func (w *world) deposit(ctx context.Context, m *manager.Manager, n uint64) error {
	x := w.message(n)
	hash := mail.Hash(sha256.Sum256(x.content))
	gw := mail.MID(n)
	_, _, err := m.Quarantine().Ingest(ctx, quarantine.Deposit{
		MID: m.NextMID(), Key: mail.NewKey(fillSerial, gw, hash), Gateway: fillSerial, GatewayName: "mx1.bench.example", GatewayMID: gw,
		Accepted: time.Now(), Envelope: mail.Envelope{From: x.from, To: x.to}, Policy: "DEFAULT", Direction: "inbound",
		Size: int64(len(x.content)), Hash: hash, Subject: x.subject, Placements: x.placements,
	}, bytes.NewReader(x.content))
	return err
}

// diskUse is what the files below a directory take.
func diskUse(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	return sum, errs.Wrap(errs.Internal, err, "measuring %s", dir)
}

// world is where the messages of Fill come from: a few senders write most of
// the mail (Zipf), subjects are in seven languages, and sizes have a long tail.
type world struct {
	mean    int
	sizes   float64 // of the logarithm of the size
	scripts []language
}

type language struct {
	words  []string
	encode string // charset word of the subject; "": plain
}

func newWorld(mean int) *world {
	return &world{mean: mean, sizes: math.Log(float64(mean)) - 0.5, scripts: languages}
}

// dice are the numbers of one message: a function of its number alone.
type dice struct{ s uint64 }

// next is splitmix64: small, and the same everywhere for ever.
func (d *dice) next() uint64 {
	d.s += 0x9e3779b97f4a7c15
	z := d.s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) n(n int) int    { return int(d.next() % uint64(n)) }
func (d *dice) unit() float64  { return float64(d.next()>>11) / (1 << 53) }
func (d *dice) in(of int) bool { return d.n(of) == 0 }
func (d *dice) normal() float64 {
	return math.Sqrt(-2*math.Log(1-d.unit())) * math.Cos(2*math.Pi*d.unit())
}
func (d *dice) zipf(n int) int       { return int(math.Pow(float64(n+1), d.unit())) - 1 } // density 1/x
func (d *dice) of(s []string) string { return s[d.n(len(s))] }

// made is one message.
type made struct {
	from       mail.Address
	to         []mail.Address
	subject    string
	content    []byte
	placements []mail.Placement
}

// How many there are of each.
const (
	domains    = 20_000
	senders    = 200_000
	recipients = 5_000
)

func (w *world) message(n uint64) *made {
	d := &dice{s: n}
	x := &made{}
	s := d.zipf(senders)
	x.from = mail.Address{Local: fmt.Sprintf("%s.%d", firstNames[s%len(firstNames)], s), Domain: domainOf(s * 7 % domains)}
	if d.in(40) { // mail that programs send, with a sender of its own each
		x.from = mail.Address{Local: fmt.Sprintf("bounce+%x", d.next()), Domain: domainOf(d.zipf(domains))}
	}
	for range 1 + d.zipf(4) {
		r := d.zipf(recipients)
		x.to = append(x.to, mail.Address{Local: fmt.Sprintf("%s.%d", firstNames[r%len(firstNames)], r), Domain: "example.com"})
	}
	l := w.scripts[d.zipf(len(w.scripts))]
	x.subject = l.subject(d)
	quarantine, reason := "Policy", "Message filter 'hold_me'"
	switch d.n(10) {
	case 0:
		quarantine, reason = "Virus", "Message filter 'executables'"
	case 1:
		quarantine = "Unclassified"
	}
	x.placements = []mail.Placement{{Quarantine: quarantine, Reason: reason}}
	size := int(min(max(math.Exp(w.sizes+d.normal()), 400), float64(1000*w.mean)))
	x.content = l.content(d, x, n, size)
	return x
}

func domainOf(i int) string { return fmt.Sprintf("%s%d.example", domainWords[i%len(domainWords)], i) }

func sentence(d *dice, words []string, n int) string {
	var b bytes.Buffer
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(d.of(words))
	}
	return b.String()
}
