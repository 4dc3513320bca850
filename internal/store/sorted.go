package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// A list in another order than that of arrival is a keyset as well: the value
// that it is sorted by, and the number. There is no index for such orders: each
// would cost every message that comes in two writes at places of the disk that
// nobody touched just now. With texts among the conditions, what the index finds
// is sorted; otherwise the database looks at all that matches.
const (
	maxSorted = 20_000 // found by the index and sorted; beyond it a look at all is no dearer
	rankRunes = 100    // of a text by which is sorted: what is the same so far comes by number
	farAway   = 1 << 62
)

// places gives a page of results in the order that is asked for.
func (f *search) places(ctx context.Context, limit int) (out []quarantine.Cursor, err error) {
	if f.q.By == quarantine.ByArrival {
		mids, err := f.mids(ctx, limit)
		for _, mid := range mids {
			out = append(out, quarantine.Cursor{MID: mid})
		}
		return out, err
	}
	if ok, err := f.bounds(ctx); err != nil || !ok {
		return nil, err
	}
	if f.indexed() {
		found, all, err := f.race(ctx, maxSorted, 0)
		if err != nil || all && len(found) == 0 {
			return nil, err
		}
		if all {
			return f.ranked(ctx, where{d: f.filter.d}, found, limit)
		}
	}
	if f.q.By == quarantine.ByExit && f.q.Ascending {
		return f.soonest(ctx, limit)
	}
	return f.ranked(ctx, f.whole(), nil, limit)
}

// whole gives all conditions but the place.
func (f *search) whole() where {
	w := f.filter
	w.conds, w.args = slices.Clone(w.conds), slices.Clone(w.args)
	if f.q.Quarantine != "" {
		w.add("EXISTS (SELECT 1 FROM membership b WHERE b.quarantine = ? AND b.mid = m.mid"+f.inside()+")", f.q.Quarantine)
	}
	w.add("m.mid > ? AND m.mid < ?", f.lo, f.hi)
	return w
}

// soonest gives what leaves next: the calendar has an index for that. A message
// stands there once for each quarantine, and counts with the first of these that
// is looked at. What is held nowhere follows.
func (f *search) soonest(ctx context.Context, limit int) (out []quarantine.Cursor, err error) {
	after := f.q.After
	exit := int64(-1 << 62)
	if after.MID != 0 {
		if exit, err = rankNumber(after); err != nil {
			return nil, err
		}
	}
	for step := max(firstStep, limit+limit/4); len(out) < limit && exit < farAway; step = min(4*step, maxStep) {
		var list []mail.MID
		var exits []int64
		w := where{d: f.filter.d}
		w.add("v.state = 0 AND v.exit >= ? AND (v.exit, v.mid) > (?, ?)", exit, exit, int64(after.MID))
		rest := w.seen(f.q)
		w.args = append(w.args, step)
		query := "SELECT v.mid, v.exit FROM membership v" + w.String() + rest + " ORDER BY v.exit, v.mid LIMIT $" + strconv.Itoa(len(w.args))
		err := f.each(ctx, query, w.args, func(rows *sql.Rows) error {
			var mid, at int64
			err := rows.Scan(&mid, &at)
			list, exits = append(list, mail.MID(mid)), append(exits, at)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			break
		}
		found, err := f.exits(ctx, list)
		if err != nil {
			return nil, err
		}
		for i, mid := range list {
			if at, ok := found[mid]; ok && at == exits[i] && len(out) < limit {
				out = append(out, quarantine.Cursor{MID: mid, By: quarantine.ByExit, Rank: strconv.FormatInt(at, 10)})
				delete(found, mid)
			}
		}
		exit, after.MID = exits[len(list)-1], list[len(list)-1]
	}
	if len(out) == limit || f.inside() != "" {
		return out, nil
	}
	q := *f.q
	if exit < farAway {
		q.After = quarantine.Cursor{By: quarantine.ByExit, Rank: strconv.Itoa(farAway - 1), MID: 1}
	}
	rest := *f
	rest.q = &q
	more, err := rest.ranked(ctx, rest.whole(), nil, limit-len(out))
	return append(out, more...), err
}

// exits gives the next exit time of those that fulfil the conditions.
func (f *search) exits(ctx context.Context, among []mail.MID) (map[mail.MID]int64, error) {
	out := make(map[mail.MID]int64, len(among))
	w := f.whole()
	w.add("m.mid = j.value")
	w.args = append(w.args, jsonNumbers(among))
	from := w.d.array("$"+strconv.Itoa(len(w.args))) + " j CROSS JOIN message m"
	rank := w.rank(f.q)
	return out, f.each(ctx, "SELECT m.mid, "+rank+" FROM "+from+w.String(), w.args, func(rows *sql.Rows) error {
		var mid, at int64
		err := rows.Scan(&mid, &at)
		out[mail.MID(mid)] = at
		return err
	})
}

// ranked sorts what fulfils the conditions, among some messages or among all.
func (f *search) ranked(ctx context.Context, w where, among []mail.MID, limit int) (out []quarantine.Cursor, err error) {
	from := "message m"
	if among != nil {
		w.add("m.mid = j.value")
		w.args = append(w.args, jsonNumbers(among))
		from = w.d.array("$"+strconv.Itoa(len(w.args))) + " j CROSS JOIN message m"
	}
	rank := w.rank(f.q)
	conditions := w.String()
	outer, down, than := where{d: w.d, args: w.args}, " DESC", "<"
	if f.q.Ascending {
		down, than = "", ">"
	}
	if f.q.After.MID != 0 {
		var at any = f.q.After.Rank
		if f.q.By.Numeric() {
			if at, err = rankNumber(f.q.After); err != nil {
				return nil, err
			}
		}
		outer.add("(k, mid) "+than+" (?, ?)", at, int64(f.q.After.MID))
	}
	outer.args = append(outer.args, limit)
	query := "SELECT mid, k FROM (SELECT m.mid AS mid, " + rank + " AS k FROM " + from + conditions + ") x" + outer.String() +
		" ORDER BY k" + down + ", mid" + down + " LIMIT $" + strconv.Itoa(len(outer.args))
	err = f.each(ctx, query, outer.args, func(rows *sql.Rows) error {
		var mid int64
		var k string
		err := rows.Scan(&mid, &k)
		out = append(out, quarantine.Cursor{MID: mail.MID(mid), By: f.q.By, Rank: unescape(k)})
		return err
	})
	return out, err
}

// rankNumber reads the value of a column of numbers.
func rankNumber(c quarantine.Cursor) (int64, error) {
	n, err := strconv.ParseInt(c.Rank, 10, 64)
	return n, errs.Wrap(errs.Invalid, err, "the place to go on behind is none of this list")
}

// rank gives the expression that is sorted by. What it needs is added to the
// arguments.
func (w *where) rank(q *quarantine.Query) string {
	text := func(s string) string {
		return w.d.bytewise("substr(" + s + ", 1, " + strconv.Itoa(rankRunes) + ")")
	}
	shown := func(unicode, plain string) string {
		return text("CASE WHEN " + unicode + " <> '' THEN " + w.d.bytewise(unicode) + " ELSE lower(" + plain + ") END")
	}
	switch q.By {
	case quarantine.BySender:
		return shown("m.sender_u", "m.sender")
	case quarantine.ByRecipient:
		return shown("m.recipients_u", "m.recipients")
	case quarantine.BySubject:
		return text("m.folded")
	case quarantine.BySize:
		return "m.size"
	case quarantine.ByQuarantine:
		return text("COALESCE((SELECT MIN(v.quarantine) FROM membership v WHERE v.mid = m.mid" + w.seen(q) + "), '')")
	case quarantine.ByExit:
		return "COALESCE((SELECT MIN(v.exit) FROM membership v WHERE v.mid = m.mid AND v.state = 0" + w.seen(q) + "), " + strconv.Itoa(farAway) + ")"
	}
	return text("lower(CASE WHEN m.gateway_name <> '' THEN m.gateway_name ELSE m.gateway END)")
}

// seen limits memberships to those that are looked at: an order must not tell
// of quarantines that somebody may not see.
func (w *where) seen(q *quarantine.Query) string {
	seen := where{d: w.d, args: w.args}
	if q.Quarantine != "" {
		seen.add("v.quarantine = ?", q.Quarantine)
	} else if names, all := q.Visible(); !all {
		seen.add("v.quarantine IN ("+marks(len(names))+")", anys(names)...)
	}
	w.args = seen.args
	if len(seen.conds) == 0 {
		return ""
	}
	return " AND " + seen.conds[0]
}
