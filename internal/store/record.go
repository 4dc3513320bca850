package store

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// detail is the part of a record that nobody searches, kept as JSON.
type detail struct {
	mail.Params
	Rcpt      []mail.RcptParams `json:"rcpt,omitempty"`
	Policy    string            `json:"policy,omitempty"`
	Direction string            `json:"direction,omitempty"`
	Prepend   []byte            `json:"prepend,omitempty"`
	Origin    origin            `json:"origin,omitzero"`
}

// origin is mail.Origin, of which nothing is stored but what there is: a million
// messages have it.
type origin struct {
	ICID        mail.ICID  `json:"icid,omitzero"`
	Listener    string     `json:"listener,omitzero"`
	Interface   string     `json:"interface,omitzero"`
	RemoteIP    netip.Addr `json:"remote_ip,omitzero"`
	RemoteHost  string     `json:"remote_host,omitzero"`
	Helo        string     `json:"helo,omitzero"`
	Protocol    string     `json:"protocol,omitzero"`
	SenderGroup string     `json:"sender_group,omitzero"`
	Policy      string     `json:"policy,omitzero"`
	Relay       bool       `json:"relay,omitzero"`
	User        string     `json:"user,omitzero"`
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMS(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// joinAddresses puts each address between line feeds, which no address has: so
// the beginning, the end and the whole of each can be asked for as a piece of
// the text.
func joinAddresses(list []mail.Address) string {
	var b strings.Builder
	b.WriteByte('\n')
	for _, a := range list {
		b.WriteString(a.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func splitAddresses(s string) ([]mail.Address, error) {
	fields := strings.Split(strings.Trim(s, "\n"), "\n")
	out := make([]mail.Address, len(fields))
	for i, f := range fields {
		a, err := mail.ParseAddress(f)
		if err != nil {
			return nil, errs.Wrap(errs.Damaged, err, "a stored address")
		}
		out[i] = a
	}
	return out, nil
}

// drop has an object removed after the commit.
func (t *tx) drop(id quarantine.ContentID) {
	if id != "" {
		t.j.garbage = append(t.j.garbage, id)
	}
}

// unlink ends one message's reference; the last one takes the content along.
func (t *tx) unlink(hash []byte) error {
	var object string
	var refs int64
	ok, err := t.row("UPDATE content SET refs = refs - 1 WHERE hash = $1 RETURNING object, refs", []any{hash}, &object, &refs)
	if err != nil || !ok || refs > 0 {
		return err
	}
	t.drop(quarantine.ContentID(object))
	return t.exec("DELETE FROM content WHERE hash = $1", hash)
}

// membershipColumns are those that membershipArgs gives the values of.
const membershipColumns = "mid, pos, quarantine, reason, state, entered, exit, gone, cause, actor, decision, extras, matched"

// membershipConflict writes them over what a membership was before.
const membershipConflict = `ON CONFLICT (mid, pos) DO UPDATE SET reason = excluded.reason, state = excluded.state, entered = excluded.entered,
	exit = excluded.exit, gone = excluded.gone, cause = excluded.cause, actor = excluded.actor, decision = excluded.decision,
	extras = excluded.extras, matched = excluded.matched`

const membershipWidth = 13

func membershipArgs(mid mail.MID, pos int, m *quarantine.Membership) []any {
	return []any{int64(mid), pos, m.Quarantine, m.Reason, int(m.State), ms(m.Entered), ms(m.Exit), ms(m.Left), string(m.Cause), m.By, int64(m.Decision),
		extrasText(m.Extras), matchedText(m.Matched)}
}

// extrasText gives extras as they are stored; none are an empty text.
func extrasText(e mail.Extras) string {
	if e == (mail.Extras{}) {
		return ""
	}
	b, _ := json.Marshal(e) // texts and booleans
	return string(b)
}

// matchedText gives matched content as it is stored; none is an empty text.
func matchedText(all []mail.Matched) string {
	if len(all) == 0 {
		return ""
	}
	b, _ := json.Marshal(all) // texts
	return string(b)
}

// Decide implements quarantine.Store.
func (s *Store) Decide(ctx context.Context, d quarantine.Decision) (id quarantine.DecisionID, err error) {
	var n int64
	err = s.askTo(ctx, func(t *tx) error {
		_, err := t.row("INSERT INTO decision (action, quarantine, actor, origin, at) VALUES ($1, $2, $3, $4, $5) RETURNING id",
			[]any{string(d.Action), d.Quarantine, d.By, d.From, ms(d.At)}, &n)
		return err
	})
	if err != nil {
		return 0, err // not n: the change may still be under way
	}
	return quarantine.DecisionID(n), nil
}

// intend writes a release decision, for the queue to carry out.
func (t *tx) intend(r *quarantine.Record, in *quarantine.Intent) error {
	t.j.intents = append(t.j.intents, r.MID)
	err := t.exec("INSERT INTO intent (mid, action, cause, actor, at, qstate, tries, owner) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
		int64(r.MID), string(in.Action), string(in.Cause), in.By, ms(in.At), int(queue.Work), t.s.opt.Name)
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM release_recipient WHERE mid = $1", int64(r.MID)); err != nil {
		return err
	}
	for i, d := range r.Release {
		q := queue.Pending
		if d.State != quarantine.Queued {
			q = queue.Delivered
		}
		err := t.exec(`INSERT INTO release_recipient (mid, rid, address, state, reply, remote, at, qstate, attempts, next, action, asked, taken)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10, $11)`,
			int64(r.MID), i, d.Recipient.String(), int(d.State), d.Reply, int64(d.Remote), ms(d.At), int(q), int64(d.Action), ms(d.Asked), ms(d.Taken))
		if err == nil && d.Proof.Seq > 0 {
			err = t.saveProof(r.MID, i, &d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// saveProof writes what a gateway said about one recipient of a release.
func (t *tx) saveProof(mid mail.MID, rid int, d *quarantine.Delivery) error {
	p := &d.Proof
	return t.exec(`UPDATE release_recipient SET state = $1, seq = $2, tried = $3, retry = $4, tries = $5, host = $6, code = $7, answer = $8, rescanned = $9
		WHERE mid = $10 AND rid = $11`,
		int(d.State), int64(p.Seq), ms(p.At), ms(p.Next), p.Attempts, p.Host, p.Code, p.Reply, p.Rescan, int64(mid), rid)
}

// Forget implements quarantine.Calendar.
func (s *Store) Forget(ctx context.Context, records, keys time.Time, limit int) (n int, err error) {
	err = s.do(ctx, true, func(t *tx) error {
		var e error
		n, e = t.forget(ms(records), ms(keys), limit)
		return e
	})
	return n, err
}

// forget takes whole batches with a few statements; the sub-select is the same
// in each, as nothing else runs between them.
func (t *tx) forget(records, keys int64, limit int) (int, error) {
	if err := t.s.d.exclude(t, "forget"); err != nil { // or the sub-select would not be the same
		return 0, err
	}
	const old = "(SELECT mid FROM message WHERE state IN (3, 5) AND changed < $1 ORDER BY changed, mid LIMIT $2)"
	err := t.exec("INSERT INTO known (key, mid, at) SELECT key, mid, changed FROM message WHERE mid IN "+old, records, limit)
	if err != nil {
		return 0, err
	}
	for _, table := range []string{"membership", "release_recipient", "attachment", "body"} {
		if err := t.exec("DELETE FROM "+table+" WHERE mid IN "+old, records, limit); err != nil {
			return 0, err
		}
	}
	for _, table := range []string{"pending WHERE mid", "search WHERE rowid"} {
		if err := t.exec("DELETE FROM "+table+" IN "+old, records, limit); err != nil {
			return 0, err
		}
	}
	n, err := t.execN("DELETE FROM message WHERE mid IN "+old, records, limit)
	if err != nil {
		return 0, err
	}
	// A forecast looks back over days, not years.
	if err := t.exec("DELETE FROM arrival WHERE hour < $1", records/3600000); err != nil {
		return 0, err
	}
	// Numbers are not used again: the newest decision always stays.
	err = t.exec("DELETE FROM decision WHERE at < $1 AND id < (SELECT MAX(id) FROM decision)", records)
	if err != nil {
		return 0, err
	}
	err = t.exec("DELETE FROM known WHERE key IN (SELECT key FROM known WHERE at < $1 ORDER BY at LIMIT $2)", keys, limit)
	return int(n), err
}
