package store

import (
	"context"
	"strconv"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// where collects the conditions of a search. Values are always parameters,
// those from our own tables too (register A6).
type where struct {
	d     dialect
	conds []string
	args  []any
}

// add adds a condition; each ? in it stands for the next argument.
func (w *where) add(cond string, args ...any) {
	for _, a := range args {
		w.args = append(w.args, a)
		cond = strings.Replace(cond, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conds = append(w.conds, cond)
}

func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// text adds a condition on a folded text, or that or another form of it which
// is empty where there is none.
func (w *where) text(t quarantine.Text, column, other string) {
	if t.Any() {
		return
	}
	v := quarantine.Fold(t.Text)
	cond, args := w.compare(column, t.Op, v)
	if other != "" {
		also, more := w.compare(other, t.Op, v)
		cond, args = "("+cond+" OR "+other+" <> '' AND "+also+")", append(args, more...)
	}
	if t.Not {
		cond = "NOT (" + cond + ")"
	}
	w.add(cond, args...)
}

func (w *where) compare(column string, op quarantine.Op, v string) (cond string, args []any) {
	switch op {
	case quarantine.Is:
		return column + " = ?", []any{v}
	case quarantine.StartsWith:
		return "substr(" + column + ", 1, length(?)) = ?", []any{v, v}
	case quarantine.EndsWith:
		return "length(" + column + ") >= length(?) AND substr(" + column + ", length(" + column + ") - length(?) + 1) = ?", []any{v, v, v}
	}
	return w.d.has(column), []any{v}
}

// recipients adds a condition on the addresses, each of which stands between
// line feeds: all comparisons are pieces of the text.
func (w *where) recipients(t quarantine.Text) {
	if t.Any() {
		return
	}
	v := piece(t)
	cond := "(" + w.d.has("lower(m.recipients)") + " OR " + w.d.has("m.recipients_u") + ")"
	if t.Not {
		cond = "NOT " + cond
	}
	w.add(cond, v, v)
}

// Find implements quarantine.Store.
func (s *Store) Find(ctx context.Context, q quarantine.Query) (out []*quarantine.Record, err error) {
	for {
		list, skipped, err := s.findPage(ctx, q)
		out = append(out, list...)
		if err != nil || len(skipped) == 0 || q.Limit == 0 {
			return out, err
		}
		// A short page would be taken for the last one: fill it up.
		if len(list)+len(skipped) < q.Limit {
			return out, nil
		}
		q.After, q.Limit = skipped[len(skipped)-1], q.Limit-len(list)
	}
}

// findPage gives one page, and if there are damaged records among it that were
// left out, the numbers of all of it in order.
func (s *Store) findPage(ctx context.Context, q quarantine.Query) (list []*quarantine.Record, skipped []quarantine.Cursor, err error) {
	f := search{q: &q, filter: where{d: s.d}}
	f.terms = s.census.rarest(terms(&q))
	if !conditions(&f.filter, &q) {
		return nil, nil, nil
	}
	limit := q.Limit
	if limit == 0 {
		limit = 1<<31 - 1
	}
	err = s.withReader(ctx, func(r *reader) error {
		f.r = r
		places, err := f.places(ctx, limit)
		if err != nil {
			return err
		}
		list, err = s.records(ctx, r, places)
		if len(list) < len(places) {
			skipped = places
		}
		return err
	})
	return list, skipped, err
}

// conditions adds all but the keyset; false: nothing can match.
func conditions(w *where, q *quarantine.Query) bool {
	if names, all := q.Visible(); !all {
		if len(names) == 0 {
			return false
		}
		w.add("EXISTS (SELECT 1 FROM membership v WHERE v.mid = m.mid AND v.quarantine IN ("+marks(len(names))+"))", anys(names)...)
	}
	if q.MID != 0 {
		w.add("m.mid = ?", int64(q.MID))
	}
	if q.GatewayMID != 0 {
		w.add("m.gateway_mid = ?", int64(q.GatewayMID))
	}
	w.gateway(q.Gateway, "")
	w.gateway(q.NotGateway, "NOT ")
	if !q.Since.IsZero() {
		w.add("m.received >= ?", ms(q.Since))
	}
	if !q.Until.IsZero() {
		w.add("m.received < ?", ms(q.Until))
	}
	states := q.Wanted()
	if len(states) == 0 {
		return false
	}
	w.add("m.state IN (" + stateList(states) + ")")
	w.text(q.Sender, "lower(m.sender)", "m.sender_u")
	w.text(q.Subject, "m.folded", "")
	w.recipients(q.Recipient)
	w.reason(q)
	w.attachment(q.Attachment)
	w.body(q.Body)
	if v := foldMessageID(q.MessageID); v != "" {
		w.add("lower(m.message_id) IN (?, ?)", v, "<"+v+">")
	}
	return true
}

// gateway adds a condition on where the message came from.
func (w *where) gateway(name, not string) {
	if name == "" {
		return
	}
	v := asciiLower(name)
	cond, args := "lower(m.gateway) = ? OR lower(m.gateway_name) = ?", []any{v, v}
	if !strings.Contains(v, ".") { // mx1 for mx1.example.com
		cond, args = cond+" OR substr(lower(m.gateway_name), 1, length(?)) = ?", append(args, v+".", v+".")
	}
	w.add(not+"("+cond+")", args...)
}

// reason adds a condition on why the message is in a quarantine: in the one that
// is asked for, or in any that the party may see. What others say stays hidden.
func (w *where) reason(q *quarantine.Query) {
	if q.Reason.Any() {
		return
	}
	cond, args := w.compare("lower(g.reason)", q.Reason.Op, asciiLower(q.Reason.Text))
	cond = "EXISTS (SELECT 1 FROM membership g WHERE g.mid = m.mid AND " + cond
	if q.Quarantine != "" {
		cond, args = cond+" AND g.quarantine = ?", append(args, q.Quarantine)
	} else if names, all := q.Visible(); !all {
		cond, args = cond+" AND g.quarantine IN ("+marks(len(names))+")", append(args, anys(names)...)
	}
	cond += ")"
	if q.Reason.Not {
		cond = "NOT " + cond
	}
	w.add(cond, args...)
}

// marks gives n places for arguments.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func stateList(states []quarantine.State) string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = strconv.Itoa(int(s))
	}
	return strings.Join(out, ", ")
}

// one gives one record, or nil.
func (s *Store) one(ctx context.Context, mid mail.MID) (*quarantine.Record, error) {
	list, err := s.Load(ctx, []mail.MID{mid})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}
