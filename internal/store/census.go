package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"
)

// census says about how common each term is. The index takes long to bring
// lists together of which one is in every message, so a search asks it for the
// rarest terms alone. What is counted is a sample: wrong numbers cost time,
// never a result.
type census struct {
	mu    sync.Mutex
	docs  int
	count map[term]uint32
}

const (
	sampled     = 1000    // messages looked at behind a start
	maxCounted  = 200_000 // terms; beyond that what is rare is forgotten
	maxPerText  = 5       // terms that one condition asks for
	fewPerText  = 2       // and when none of them is rare: most of it matches anyway
	notRare     = 0.01    // of all messages
	muchCommon  = 40      // a term so many times as common as the rarest is left out
	rareEnough  = 0.0005  // of all messages: nothing is rarer for this purpose
	maxTermsAll = 8
)

// take counts the terms of one message.
func (c *census) take(terms []term) {
	slices.Sort(terms)
	terms = slices.Compact(terms)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = make(map[term]uint32)
	}
	c.docs++
	for _, t := range terms {
		c.count[t]++
	}
	if len(c.count) > maxCounted {
		c.docs /= 2
		for t, n := range c.count {
			if n /= 2; n == 0 {
				delete(c.count, t)
			} else {
				c.count[t] = n
			}
		}
	}
}

// share gives the part of all messages that has the term.
func (c *census) share(t term) float64 {
	return max(rareEnough, float64(c.count[t])/float64(max(1, c.docs)))
}

// rarest gives the terms worth asking for: some of each condition, the rarest
// first, without those that are much more common than the rarest.
func (c *census) rarest(conditions [][]term) (out []term) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rare := func(a, b term) int { return cmp.Compare(c.share(a), c.share(b)) }
	for _, terms := range conditions {
		slices.SortStableFunc(terms, rare)
		n := maxPerText
		if c.share(terms[0]) > notRare {
			n = fewPerText
		}
		out = append(out, terms[:min(len(terms), n)]...)
	}
	slices.SortStableFunc(out, rare)
	for i, t := range out {
		if i >= maxTermsAll || c.share(t) > muchCommon*c.share(out[0]) {
			return out[:i]
		}
	}
	return out
}

// sample counts some messages from all over the database.
func (s *Store) sample(ctx context.Context) error {
	return s.withReader(ctx, func(r *reader) error {
		var lo, hi sql.NullInt64
		err := r.each(ctx, "SELECT (SELECT MIN(mid) FROM message), (SELECT MAX(mid) FROM message)", nil, func(rows *sql.Rows) error { return rows.Scan(&lo, &hi) })
		if err != nil || !lo.Valid {
			return err
		}
		for i := range int64(sampled) {
			select {
			case <-s.done:
				return nil
			default:
			}
			var docs []*document
			err := r.each(ctx, "SELECT "+documentColumns+" FROM message m WHERE m.mid >= $1 ORDER BY m.mid LIMIT 1",
				[]any{lo.Int64 + (hi.Int64-lo.Int64)*i/sampled}, func(rows *sql.Rows) error {
					d, err := scanDocument(rows)
					docs = append(docs, d)
					return err
				})
			if err == nil {
				err = insides(docs, func(q string, args []any, fn func(*sql.Rows) error) error { return r.each(ctx, q, args, fn) }, s.d)
			}
			if err != nil {
				return err
			}
			for _, d := range docs {
				s.census.take(d.terms())
			}
		}
		return nil
	})
}
