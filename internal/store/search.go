package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// A search has one or two ways to its results: the index of texts, and a walk
// over a quarantine. Which is the better one depends on what is held, and no
// statistics say so beforehand: pieces that are common by themselves may never
// come together. So both go step by step in turn, each in the order of the
// results, whichever has cost less so far; the first one through wins. The
// price is at most twice that of the better one.

// way gives candidates in the order of the search.
type way struct {
	pages  []page // merged; each gives its part of the numbers in a range
	at     int64  // the candidates before it are seen
	seen   int    // how many
	found  []mail.MID
	length int // of the next step
	done   bool
}

// page is a statement that gives some numbers: its last arguments are the
// bounds, exclusive, and how many.
type page struct {
	query string
	args  []any
}

// Steps of a way: short at first, for what is common is on the first page.
const (
	firstStep = 64
	maxStep   = 4096
)

// search is one question under way.
type search struct {
	r      *reader
	q      *quarantine.Query
	lo, hi int64 // numbers of what can match: exclusive
	filter where // all but the order and the range
	terms  []term
}

// bounds narrows the numbers to those that can lie in the query's time and
// behind its keyset. False: none.
func (f *search) bounds(ctx context.Context) (bool, error) {
	f.lo, f.hi = 0, 1<<63-1
	if !f.q.Since.IsZero() || !f.q.Until.IsZero() {
		from, to := int64(-1<<62), int64(1<<62)
		if !f.q.Since.IsZero() {
			from = ms(f.q.Since) / hourMS
		}
		if !f.q.Until.IsZero() {
			to = ms(f.q.Until) / hourMS
		}
		var lo, hi sql.NullInt64
		err := f.one(ctx, "SELECT MIN(lo), MAX(hi) FROM span WHERE hour >= $1 AND hour <= $2", []any{from, to}, &lo, &hi)
		if err != nil || !lo.Valid {
			return false, err
		}
		f.lo, f.hi = lo.Int64-1, hi.Int64+1
	}
	if f.q.MID != 0 {
		f.lo, f.hi = max(f.lo, int64(f.q.MID)-1), min(f.hi, int64(f.q.MID)+1)
	}
	if f.q.After.MID != 0 && f.q.By == quarantine.ByArrival {
		if f.q.Ascending {
			f.lo = max(f.lo, int64(f.q.After.MID))
		} else {
			f.hi = min(f.hi, int64(f.q.After.MID))
		}
	}
	return f.hi-f.lo > 1, nil
}

const hourMS = 3600 * 1000

func (f *search) direction() string {
	if f.q.Ascending {
		return " ORDER BY 1 LIMIT "
	}
	return " ORDER BY 1 DESC LIMIT "
}

// mids gives the numbers of a page of results, in order of arrival.
func (f *search) mids(ctx context.Context, limit int) ([]mail.MID, error) {
	if ok, err := f.bounds(ctx); err != nil || !ok {
		return nil, err
	}
	if !f.indexed() {
		return f.walk(ctx, limit)
	}
	found, _, err := f.race(ctx, limit, 0)
	return found, err
}

// indexed says that the index of texts is worth asking.
func (f *search) indexed() bool { return len(f.terms) > 0 && f.q.MID == 0 }

// race lets the ways go in turn until one has found enough, or looked at so many
// (0: however many); all when there is nothing more.
func (f *search) race(ctx context.Context, limit, most int) (found []mail.MID, all bool, err error) {
	ways := []*way{f.byIndex()}
	if f.q.Quarantine != "" {
		ways = append(ways, f.way(page{"SELECT mid FROM membership WHERE quarantine = $1", []any{f.q.Quarantine}}))
	}
	ways[0].length = min(max(firstStep, limit+limit/4), maxStep)
	for {
		w := slices.MinFunc(ways, func(a, b *way) int { return a.seen - b.seen })
		if err := f.step(ctx, w, limit); err != nil {
			return nil, false, err
		}
		if w.done || len(w.found) >= limit || most > 0 && w.seen >= most {
			return w.found[:min(limit, len(w.found))], w.done && len(w.found) <= limit, nil
		}
	}
}

func (f *search) way(pages ...page) *way {
	w := &way{pages: pages, at: f.hi, length: firstStep}
	if f.q.Ascending {
		w.at = f.lo
	}
	return w
}

// byIndex goes by the index of texts, and by what is not in it yet.
func (f *search) byIndex() *way {
	d := f.filter.d
	return f.way(page{"SELECT rowid FROM search WHERE " + d.match(), []any{d.asked(f.terms)}}, page{"SELECT mid FROM pending WHERE 1 = 1", nil})
}

// step looks at the next candidates of a way.
func (f *search) step(ctx context.Context, w *way, limit int) error {
	list, err := f.candidates(ctx, w)
	if err != nil || len(list) == 0 {
		w.done = true
		return err
	}
	w.seen += len(list)
	w.done = len(list) < w.length
	w.at = int64(list[len(list)-1])
	w.length = min(4*w.length, maxStep)
	cond := f.filter
	cond.conds, cond.args = slices.Clone(cond.conds), slices.Clone(cond.args)
	cond.add("m.mid = j.value")
	if f.q.Quarantine != "" {
		cond.add("EXISTS (SELECT 1 FROM membership b WHERE b.quarantine = ? AND b.mid = m.mid"+f.inside()+")", f.q.Quarantine)
	}
	cond.args = append(cond.args, jsonNumbers(list))
	query := "SELECT m.mid FROM " + f.filter.d.array("$"+strconv.Itoa(len(cond.args))) + " j CROSS JOIN message m" + cond.String()
	before := len(w.found)
	err = f.each(ctx, query, cond.args, func(rows *sql.Rows) error {
		var mid int64
		err := rows.Scan(&mid)
		w.found = append(w.found, mail.MID(mid))
		return err
	})
	f.sort(w.found[before:]) // a join keeps no order
	return err
}

// sort brings numbers into the order of the results.
func (f *search) sort(mids []mail.MID) {
	slices.Sort(mids)
	if !f.q.Ascending {
		slices.Reverse(mids)
	}
}

// candidates merges what the pages of a way give next.
func (f *search) candidates(ctx context.Context, w *way) (out []mail.MID, err error) {
	for _, p := range w.pages {
		lo, hi := f.lo, w.at
		column := "mid"
		if strings.Contains(p.query, " search ") {
			column = "rowid"
		}
		if f.q.Ascending {
			lo, hi = w.at, f.hi
		}
		n := len(p.args)
		query := p.query + " AND " + column + " > $" + strconv.Itoa(n+1) + " AND " + column + " < $" + strconv.Itoa(n+2) + f.direction() + "$" + strconv.Itoa(n+3)
		err := f.each(ctx, query, append(slices.Clone(p.args), lo, hi, w.length), func(rows *sql.Rows) error {
			var mid int64
			err := rows.Scan(&mid)
			out = append(out, mail.MID(mid))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	f.sort(out)
	return out[:min(len(out), w.length)], nil
}

// walk looks at one message after the other, as SQL does it.
func (f *search) walk(ctx context.Context, limit int) (out []mail.MID, err error) {
	w := f.filter
	w.conds, w.args = slices.Clone(w.conds), slices.Clone(w.args)
	from, column := "message m", "m.mid"
	if f.q.Quarantine != "" {
		from, column = "membership b CROSS JOIN message m", "b.mid"
		w.add("m.mid = b.mid")
		w.add("b.quarantine = ?"+f.inside(), f.q.Quarantine)
	}
	w.add(column+" > ? AND "+column+" < ?", f.lo, f.hi)
	w.args = append(w.args, limit)
	query := "SELECT " + column + " FROM " + from + w.String() + f.direction() + "$" + strconv.Itoa(len(w.args))
	err = f.each(ctx, query, w.args, func(rows *sql.Rows) error {
		var mid int64
		err := rows.Scan(&mid)
		out = append(out, mail.MID(mid))
		return err
	})
	return out, err
}

// inside: held messages of a quarantine are those that are held in it.
func (f *search) inside() string {
	if len(f.q.States) == 1 && f.q.States[0] == quarantine.Held {
		return " AND b.state = 0"
	}
	return ""
}

// terms gives what the index can be asked for, condition by condition.
func terms(q *quarantine.Query) (out [][]term) {
	for _, c := range []struct {
		f field
		t quarantine.Text
	}{{senderField, q.Sender}, {recipientField, q.Recipient}, {subjectField, q.Subject}} {
		if !c.t.Any() && !c.t.Not {
			if terms := asked(nil, c.f, piece(c.t)); len(terms) > 0 {
				out = append(out, terms)
			}
		}
	}
	out = append(out, attachmentQuestion(q.Attachment)...)
	if t := q.Body; !t.Any() && !t.Not {
		if terms := asked(nil, bodyField, bodyPiece(t)); len(terms) > 0 {
			out = append(out, terms)
		}
	}
	if v := foldMessageID(q.MessageID); v != "" {
		out = append(out, []term{wholeTerm(messageIDField, v)})
	}
	if q.Gateway != "" {
		out = append(out, []term{wholeTerm(gatewayField, asciiLower(q.Gateway))})
	}
	return out
}

// piece is what stands in the framed text when the condition holds.
func piece(t quarantine.Text) string {
	v := quarantine.Fold(t.Text)
	switch t.Op {
	case quarantine.Is:
		return framed(v)
	case quarantine.StartsWith:
		return "\n" + v
	case quarantine.EndsWith:
		return v + "\n"
	}
	return v
}

// one reads one row that is always there.
func (f *search) one(ctx context.Context, query string, args []any, dest ...any) error {
	return f.each(ctx, query, args, func(rows *sql.Rows) error { return rows.Scan(dest...) })
}

// each reads rows by a statement that stays prepared.
func (f *search) each(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error {
	return f.r.each(ctx, query, args, fn)
}

// jsonNumbers writes numbers as an array, which is one argument however many
// they are.
func jsonNumbers(mids []mail.MID) string {
	b := append(make([]byte, 0, 9*len(mids)+2), '[')
	for i, m := range mids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(m), 10)
	}
	return string(append(b, ']'))
}
