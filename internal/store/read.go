package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// columns of a record, read by scanRecord.
const columns = `m.mid, m.key, m.gateway, m.gateway_name, m.gateway_mid, m.hash, m.size, m.sender, m.recipients, m.subject,
	m.display, m.message_id, m.detail, m.accepted, m.received, m.changed, m.state, m.version, m.actions,
	m.until, m.decision, m.hold_at, m.hold_by, m.hold_why, m.attached, COALESCE(c.object, '')`

// pageColumns are those of a list, in which nobody asks for the content.
var pageColumns = strings.Replace(columns, "COALESCE(c.object, '')", "''", 1)

const fromMessage = " FROM message m LEFT JOIN content c ON c.hash = m.hash "

// maxIn is the most numbers in one IN list.
const maxIn = 500

// Load implements quarantine.Store.
func (s *Store) Load(ctx context.Context, mids []mail.MID) ([]*quarantine.Record, error) {
	found := make(map[mail.MID]*quarantine.Record, len(mids))
	for rest := mids; len(rest) > 0; {
		n := min(len(rest), maxIn)
		got, _, err := s.query(ctx, "SELECT "+columns+fromMessage+"WHERE m.mid IN "+inList(rest[:n]), nil)
		if err != nil {
			return nil, err
		}
		for _, r := range got {
			found[r.MID] = r
		}
		rest = rest[n:]
	}
	out := make([]*quarantine.Record, 0, len(found))
	for _, mid := range mids {
		if r := found[mid]; r != nil {
			out = append(out, r)
			delete(found, mid)
		}
	}
	return out, nil
}

// inList writes numbers into the text: they are ours, and a statement for each
// length of list is not worth preparing.
func inList(mids []mail.MID) string {
	b := make([]byte, 0, 12*len(mids)+2)
	b = append(b, '(')
	for i, m := range mids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(m), 10)
	}
	return string(append(b, ')'))
}

// query reads records with all that belongs to them, as of one moment. A
// damaged one is reported and left out, so that it does not hide the others;
// skipped are the numbers of such.
func (s *Store) query(ctx context.Context, query string, args []any) (out []*quarantine.Record, skipped []mail.MID, err error) {
	tx, err := s.read.BeginTx(ctx, s.d.snapshot())
	if err != nil {
		return nil, nil, sqlError(err, "reading the database")
	}
	defer tx.Rollback()
	read := func(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error {
		return each(ctx, tx, query, args, fn)
	}
	err = read(ctx, query, args, func(rows *sql.Rows) error {
		r, err := scanRecord(rows)
		if errs.Is(err, errs.Damaged) {
			s.fault(err)
			skipped = append(skipped, r.MID)
			return nil
		}
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return out, skipped, complete(ctx, s.d, read, out)
}

// records gives a page of records, in the order of their numbers given, without
// where their contents are; damaged ones are reported and left out.
func (s *Store) records(ctx context.Context, r *reader, places []quarantine.Cursor) (out []*quarantine.Record, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	mids := make([]mail.MID, len(places))
	for i, p := range places {
		mids[i] = p.MID
	}
	by := make(map[mail.MID]*quarantine.Record, len(mids))
	query := "SELECT " + pageColumns + " FROM " + s.d.array("$1") + " j CROSS JOIN message m WHERE m.mid = j.value"
	err = r.each(ctx, query, []any{jsonNumbers(mids)}, func(rows *sql.Rows) error {
		rec, err := scanRecord(rows)
		if errs.Is(err, errs.Damaged) {
			s.fault(err)
			return nil
		}
		by[rec.MID] = rec
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if rec := by[p.MID]; rec != nil {
			rec.Rank = p.Rank
			out = append(out, rec)
		}
	}
	return out, complete(ctx, s.d, r.each, out)
}

func scanRecord(rows *sql.Rows) (*quarantine.Record, error) {
	r := new(quarantine.Record)
	var hash []byte
	var mid, gmid, accepted, received, changed, until, decision, heldAt int64
	var key, sender, recipients, det, object string
	var state int
	err := rows.Scan(&mid, &key, &r.Gateway, &r.GatewayName, &gmid, &hash, &r.Size, &sender, &recipients, &r.Subject,
		&r.Display, &r.MessageID, &det, &accepted, &received, &changed, &state, &r.Version, &r.Actions,
		&until, &decision, &heldAt, &r.Hold.By, &r.Hold.Why, &r.Attached, &object)
	if err != nil {
		return nil, err
	}
	r.MID, r.Key, r.GatewayMID = mail.MID(mid), mail.Key(key), mail.MID(gmid)
	r.Accepted, r.Received, r.Changed = fromMS(accepted), fromMS(received), fromMS(changed)
	r.Until, r.Decision, r.Hold.At = fromMS(until), quarantine.DecisionID(decision), fromMS(heldAt)
	r.State, r.Content = quarantine.State(state), quarantine.ContentID(object)
	if r.State.Final() {
		r.Content = "" // another message may have the same content; this one has none any more
	}
	r.GatewayName, r.Subject, r.Display, r.MessageID = unescape(r.GatewayName), unescape(r.Subject), unescape(r.Display), unescape(r.MessageID)
	r.Hold.Why, sender, recipients = unescape(r.Hold.Why), unescape(sender), unescape(recipients)
	if copy(r.Hash[:], hash) != len(r.Hash) {
		return r, errs.New(errs.Damaged, "message %s: its hash has %d bytes", r.MID, len(hash))
	}
	var d detail
	if err := json.Unmarshal([]byte(det), &d); err != nil {
		return r, errs.Wrap(errs.Damaged, err, "message %s: its record is damaged", r.MID)
	}
	r.Envelope.Params, r.Envelope.Rcpt = d.Params, d.Rcpt
	r.Policy, r.Direction, r.Prepend, r.Origin = d.Policy, d.Direction, d.Prepend, mail.Origin(d.Origin)
	if r.Envelope.From, err = mail.ParseAddress(sender); err == nil {
		r.Envelope.To, err = splitAddresses(recipients)
	}
	return r, errs.Wrap(errs.Damaged, err, "message %s: its record is damaged", r.MID)
}

// complete reads memberships and releases of records.
func complete(ctx context.Context, d dialect, read reading, list []*quarantine.Record) error {
	if len(list) == 0 {
		return nil
	}
	by := make(map[int64]*quarantine.Record, len(list))
	mids := make([]mail.MID, len(list))
	for i, r := range list {
		by[int64(r.MID)], mids[i] = r, r.MID
	}
	in := []any{jsonNumbers(mids)}
	err := read(ctx, `SELECT b.mid, b.quarantine, b.reason, b.state, b.entered, b.exit, b.gone, b.cause, b.actor, b.decision, b.extras, b.matched
		FROM `+d.array("$1")+` j CROSS JOIN membership b WHERE b.mid = j.value ORDER BY j.key, b.pos`, in, func(rows *sql.Rows) error {
		var mid, entered, exit, gone int64
		var m quarantine.Membership
		var extras, matched string
		if err := rows.Scan(&mid, &m.Quarantine, &m.Reason, &m.State, &entered, &exit, &gone, &m.Cause, &m.By, &m.Decision, &extras, &matched); err != nil {
			return err
		}
		m.Reason, m.By = unescape(m.Reason), unescape(m.By)
		if extras != "" { // what cannot be read must not go home as if nothing had been asked
			if err := json.Unmarshal([]byte(extras), &m.Extras); err != nil {
				return errs.Wrap(errs.Damaged, err, "message %d: its extras are damaged", mid)
			}
		}
		if matched != "" {
			if err := json.Unmarshal([]byte(unescape(matched)), &m.Matched); err != nil {
				return errs.Wrap(errs.Damaged, err, "message %d: its matched content is damaged", mid)
			}
		}
		m.Entered, m.Exit, m.Left = fromMS(entered), fromMS(exit), fromMS(gone)
		by[mid].Memberships = append(by[mid].Memberships, m)
		return nil
	})
	if err == nil && slices.ContainsFunc(list, func(r *quarantine.Record) bool { return r.Attached > 0 }) {
		err = completeInsides(ctx, d, read, by, in)
	}
	if err != nil || !slices.ContainsFunc(list, func(r *quarantine.Record) bool { return r.Actions > 0 }) {
		return err // no release was decided yet
	}
	return read(ctx, `SELECT d.mid, d.rid, d.address, d.state, d.reply, d.remote, d.at,
		d.action, d.asked, d.taken, d.seq, d.tried, d.retry, d.tries, d.host, d.code, d.answer, d.rescanned
		FROM `+d.array("$1")+` j CROSS JOIN release_recipient d WHERE d.mid = j.value ORDER BY j.key, d.rid`, in, func(rows *sql.Rows) error {
		var mid, remote, at, asked, taken, tried, retry int64
		var address string
		var d quarantine.Delivery
		p := &d.Proof
		if err := rows.Scan(&mid, &d.RID, &address, &d.State, &d.Reply, &remote, &at, &d.Action, &asked, &taken,
			&p.Seq, &tried, &retry, &p.Attempts, &p.Host, &p.Code, &p.Reply, &p.Rescan); err != nil {
			return err
		}
		d.Reply, p.Host, p.Reply, p.Rescan = unescape(d.Reply), unescape(p.Host), unescape(p.Reply), unescape(p.Rescan)
		d.Asked, d.Taken, p.At, p.Next = fromMS(asked), fromMS(taken), fromMS(tried), fromMS(retry)
		a, err := mail.ParseAddress(unescape(address))
		if err != nil {
			return errs.Wrap(errs.Damaged, err, "message %d", mid)
		}
		d.Recipient, d.Remote, d.At = a, mail.MID(remote), fromMS(at)
		by[mid].Release = append(by[mid].Release, d)
		return nil
	})
}

// reading runs a statement and calls fn for each row.
type reading func(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error

func each(ctx context.Context, tx *sql.Tx, query string, args []any, fn func(*sql.Rows) error) error {
	rows, err := tx.QueryContext(ctx, query, bind(args)...)
	if err != nil {
		return sqlError(err, "reading the database")
	}
	for rows.Next() {
		if err := fn(rows); err != nil {
			return errors.Join(sqlError(err, "reading the database"), rows.Close())
		}
	}
	return sqlError(errors.Join(rows.Err(), rows.Close()), "reading the database")
}

// Due implements quarantine.Calendar.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]mail.MID, error) {
	return s.mids(ctx, "looking for what is due", `SELECT b.mid FROM membership b CROSS JOIN message m
		WHERE b.state = 0 AND b.exit <= $1 AND m.mid = b.mid AND m.hold_at = 0 ORDER BY b.exit LIMIT $2`, ms(now), limit)
}

// Ripe implements quarantine.Calendar.
func (s *Store) Ripe(ctx context.Context, now time.Time, limit int) ([]mail.MID, error) {
	return s.mids(ctx, "looking for decisions to carry out",
		"SELECT mid FROM message WHERE state IN (1, 4) AND until <= $1 AND hold_at = 0 ORDER BY until LIMIT $2", ms(now), limit)
}

// DecidedBy implements quarantine.Calendar.
func (s *Store) DecidedBy(ctx context.Context, id quarantine.DecisionID) ([]mail.MID, error) {
	return s.mids(ctx, "reading a decision", `SELECT mid FROM membership WHERE decision > 0 AND decision = $1
		UNION SELECT mid FROM message WHERE state IN (1, 4) AND decision = $1 ORDER BY mid`, int64(id))
}

func (s *Store) mids(ctx context.Context, doing, query string, args ...any) (out []mail.MID, err error) {
	rows, err := s.read.QueryContext(ctx, query, bind(args)...)
	if err != nil {
		return nil, sqlError(err, "%s", doing)
	}
	defer rows.Close()
	for rows.Next() {
		var mid int64
		if err := rows.Scan(&mid); err != nil {
			return nil, sqlError(err, "%s", doing)
		}
		out = append(out, mail.MID(mid))
	}
	return out, sqlError(rows.Err(), "%s", doing)
}
