package store

import (
	"context"
	"slices"
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

// text adds a condition on a folded text.
func (w *where) text(column string, t quarantine.Text) {
	if t.Any() {
		return
	}
	v := quarantine.Fold(t.Text)
	var cond string
	var args []any
	switch t.Op {
	case quarantine.Is:
		cond, args = column+" = ?", []any{v}
	case quarantine.StartsWith:
		cond, args = "substr("+column+", 1, length(?)) = ?", []any{v, v}
	case quarantine.EndsWith:
		cond, args = "length("+column+") >= length(?) AND substr("+column+", length("+column+") - length(?) + 1) = ?", []any{v, v, v}
	default:
		cond, args = w.d.has(column), []any{v}
	}
	if t.Not {
		cond = "NOT (" + cond + ")"
	}
	w.add(cond, args...)
}

// recipients adds a condition on the addresses, each of which stands between
// line feeds: all comparisons are pieces of the text.
func (w *where) recipients(t quarantine.Text) {
	if t.Any() {
		return
	}
	v := quarantine.Fold(t.Text)
	if t.Op == quarantine.Is || t.Op == quarantine.StartsWith {
		v = "\n" + v
	}
	if t.Op == quarantine.Is || t.Op == quarantine.EndsWith {
		v += "\n"
	}
	cond := w.d.has("lower(m.recipients)")
	if t.Not {
		cond = "NOT (" + cond + ")"
	}
	w.add(cond, v)
}

// Find implements quarantine.Store: newest first, by keyset. The join order is
// written out: left to itself SQLite may walk all messages for one quarantine
// (performance.md, trap 1).
func (s *Store) Find(ctx context.Context, q quarantine.Query) (out []*quarantine.Record, err error) {
	for {
		list, skipped, err := s.findPage(ctx, q)
		out = append(out, list...)
		if err != nil || len(skipped) == 0 || q.Limit == 0 {
			return out, err
		}
		// A short page would be taken for the last one: fill it up.
		for _, r := range list {
			skipped = append(skipped, r.MID)
		}
		if len(skipped) < q.Limit {
			return out, nil
		}
		q.After, q.Limit = slices.Min(skipped), q.Limit-len(list)
	}
}

func (s *Store) findPage(ctx context.Context, q quarantine.Query) ([]*quarantine.Record, []mail.MID, error) {
	w := where{d: s.d}
	from, order := fromMessage, "m.mid"
	if q.Quarantine != "" {
		from, order = " FROM membership b CROSS JOIN message m LEFT JOIN content c ON c.hash = m.hash ", "b.mid"
		w.add("m.mid = b.mid")
		w.add("b.quarantine = ?", q.Quarantine)
		if len(q.States) == 1 && q.States[0] == quarantine.Held {
			w.add("b.state = 0")
		}
	}
	if q.After != 0 {
		w.add(order+" < ?", int64(q.After))
	}
	if !conditions(&w, &q) {
		return nil, nil, nil
	}
	limit := ""
	if q.Limit > 0 {
		limit = " LIMIT " + strconv.Itoa(q.Limit)
	}
	return s.query(ctx, "SELECT "+columns+from+w.String()+" ORDER BY "+order+" DESC"+limit, w.args)
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
	if q.Gateway != "" {
		w.add("(m.gateway = ? OR lower(m.gateway_name) = ?)", q.Gateway, quarantine.Fold(q.Gateway))
	}
	if !q.Since.IsZero() {
		w.add("m.received >= ?", ms(q.Since))
	}
	if !q.Until.IsZero() {
		w.add("m.received < ?", ms(q.Until))
	}
	w.add("m.state IN (" + stateList(q.Wanted()) + ")")
	w.text("lower(m.sender)", q.Sender)
	w.text("m.folded", q.Subject)
	w.recipients(q.Recipient)
	return true
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
