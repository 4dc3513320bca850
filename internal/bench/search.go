package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/manager"
	"lazaret/internal/quarantine"
)

// Search measures searches in the manager in Dir, which must not be running, as
// an administrator's page of 50 would make them. Without Dir one is filled for
// the purpose with Messages messages.
func Search(ctx context.Context, o Options) (err error) {
	if err := o.check(20_000, 32, 4096, 20); err != nil {
		return err
	}
	if o.Tools || o.Peer != "" {
		return errs.New(errs.Invalid, "--tools and --peer: only relay and circle have them")
	}
	if o.Dir == "" {
		dir, remove, err := o.place("search")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		o.Dir = dir
		o.say("filling a manager with %d messages", o.Messages)
		if err := o.fill(ctx); err != nil {
			return err
		}
	}
	m, err := o.openManager()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	r := newResult("search", map[string]any{"runs": o.Runs})
	if err := o.search(ctx, m, r); err != nil {
		return err
	}
	return r.write(o.Stdout, o.JSON)
}

// search makes each kind of search, each time with other words.
func (o *Options) search(ctx context.Context, m *manager.Manager, r *result) error {
	s := m.Quarantine()
	held, err := s.Quarantines(ctx, mail.System())
	if err != nil {
		return err
	}
	n := int64(0)
	for _, q := range held {
		n += q.Messages
	}
	if n == 0 {
		return errs.New(errs.Invalid, "the manager in %s holds nothing: fill it first, with lazaret bench fill N --dir %s, or leave --dir out", o.Dir, o.Dir)
	}
	r.Parameters["held"] = n
	for _, k := range searches {
		took := make([]float64, o.Runs)
		for i := range o.Runs {
			d := &dice{s: uint64(i)}
			q := k.query(d)
			q.Limit = 50
			began := time.Now()
			for _, err := range s.Search(ctx, mail.System(), q) {
				if err != nil {
					return errs.Context(err, "%s", k.name)
				}
			}
			took[i] = float64(time.Since(began).Microseconds()) / 1000
		}
		o.say("%s", k.name)
		r.spread(k.name, took)
	}
	if err := o.count(ctx, s, r); err != nil {
		return err
	}
	took := make([]float64, o.Runs)
	for i := range took {
		began := time.Now()
		if _, err := s.Quarantines(ctx, mail.System()); err != nil {
			return err
		}
		took[i] = float64(time.Since(began).Microseconds()) / 1000
	}
	r.spread("counts of all quarantines", took)
	return nil
}

// count measures how long it takes to say how many there are.
func (o *Options) count(ctx context.Context, s *quarantine.Service, r *result) error {
	for _, k := range searches {
		if k.name != "newest 50" && k.name != "common word in the subject" {
			continue
		}
		took := make([]float64, o.Runs)
		for i := range took {
			began := time.Now()
			if _, err := s.Count(ctx, mail.System(), k.query(&dice{s: uint64(i)})); err != nil {
				return errs.Context(err, "counting %s", k.name)
			}
			took[i] = float64(time.Since(began).Microseconds()) / 1000
		}
		o.say("how many: %s", k.name)
		r.spread("how many: "+k.name, took)
	}
	return nil
}

// spread adds the median and the 99th percentile of one kind of call.
func (r *result) spread(name string, ms []float64) {
	s := slices.Sorted(slices.Values(ms))
	for _, p := range []struct {
		label string
		at    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		v := s[int(p.at*float64(len(s)-1)+0.5)]
		r.Figures = append(r.Figures, &figure{Name: name + ", " + p.label, Unit: "ms", Median: v, Min: s[0], Max: s[len(s)-1], Runs: ms})
	}
}

// searches are what people ask. What is common and what is rare follows from
// the world that Fill makes.
var searches = []struct {
	name  string
	query func(*dice) quarantine.Query
}{
	{"newest 50", func(*dice) quarantine.Query { return quarantine.Query{} }},
	{"newest 50 of one quarantine", func(*dice) quarantine.Query { return quarantine.Query{Quarantine: "Virus"} }},
	{"common word in the subject", func(d *dice) quarantine.Query {
		return quarantine.Query{Subject: quarantine.Text{Text: d.of(languages[0].words)}}
	}},
	{"rare text in the subject", func(d *dice) quarantine.Query {
		return quarantine.Query{Subject: quarantine.Text{Text: sentence(d, languages[6].words, 3)}}
	}},
	{"sender's domain", func(d *dice) quarantine.Query {
		return quarantine.Query{Sender: quarantine.Text{Text: "@" + domainOf(d.n(domains)), Op: quarantine.EndsWith}}
	}},
	{"part of a sender that is nowhere", func(d *dice) quarantine.Query {
		return quarantine.Query{Sender: quarantine.Text{Text: "nobody" + d.of(firstNames)}}
	}},
	{"large attachment of a kind", func(d *dice) quarantine.Query {
		return quarantine.Query{Attachment: quarantine.Attachment{Name: quarantine.Text{Text: ".exe", Op: quarantine.EndsWith}, Min: 16 << 10}}
	}},
	{"all by subject", func(*dice) quarantine.Query { return quarantine.Query{By: quarantine.BySubject, Ascending: true} }},
	{"all by exit time", func(*dice) quarantine.Query { return quarantine.Query{By: quarantine.ByExit, Ascending: true} }},
	{"sender's domain by size", func(d *dice) quarantine.Query {
		return quarantine.Query{By: quarantine.BySize, Sender: quarantine.Text{Text: "@" + domainOf(d.n(domains)), Op: quarantine.EndsWith}}
	}},
	{"recipient and subject together", func(d *dice) quarantine.Query {
		return quarantine.Query{Recipient: quarantine.Text{Text: d.of(firstNames)}, Subject: quarantine.Text{Text: d.of(languages[1].words)}}
	}},
}
