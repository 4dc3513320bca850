package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// addition is a new message on its way in. Those that share a transaction share
// its statements too: on a server each costs a way there and back, in SQLite
// allocations and look-ups. What is wrong with one fails the statement, and then each
// is tried in a transaction of its own, like all that share one.
type addition struct {
	r                                                *quarantine.Record
	detail, sender, recipients, senderU, recipientsU string
	folded, text                                     string
	files                                            []attachmentRow
	terms                                            string // as the index keeps them; only where it is not written behind

	// What became of it.
	mid      mail.MID
	existing bool // its key was here before, under mid
}

// Add implements quarantine.Store.
func (s *Store) Add(ctx context.Context, r *quarantine.Record) (mid mail.MID, existing bool, err error) {
	a, err := s.addition(r)
	if err != nil {
		return 0, false, err
	}
	if err := s.ask(ctx, &job{add: a, durable: true, done: make(chan struct{})}); err != nil {
		return 0, false, err
	}
	s.toIndex()
	return a.mid, a.existing, nil
}

func (s *Store) addition(r *quarantine.Record) (*addition, error) {
	d, err := json.Marshal(detail{r.Envelope.Params, r.Envelope.Rcpt, r.Policy, r.Direction, r.Prepend, origin(r.Origin)})
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "writing the record of %s", r.Key)
	}
	a := &addition{r: r, detail: string(d), sender: r.Envelope.From.String(), recipients: joinAddresses(r.Envelope.To),
		folded: quarantine.Fold(r.Display), text: quarantine.Fold(r.Text), files: attachmentRows(r.Attachments)}
	a.senderU, a.recipientsU = unicodeAddresses(a.sender), unicodeAddresses(a.recipients)
	if !s.d.behind() {
		doc := document{r.MID, a.sender, a.recipients, a.senderU, a.recipientsU, a.folded, a.folded, r.MessageID, r.Gateway, r.GatewayName, a.files, a.text}
		terms := doc.terms()
		s.census.take(terms)
		a.terms = s.d.terms(terms)
	}
	if a.text != "" {
		s.texts.Store(true)
	}
	return a, nil
}

// addAll writes the new messages among the jobs of a batch.
func (t *tx) addAll(batch []*job) error {
	jobs := make([]*job, 0, len(batch))
	for _, j := range batch {
		if j.add != nil {
			j.add.mid, j.add.existing = j.add.r.MID, false
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	jobs, err := t.unknown(jobs)
	if err == nil {
		jobs, err = t.addRecords(jobs)
	}
	if err != nil || len(jobs) == 0 {
		return err
	}
	for _, step := range []func([]*job) error{t.link, t.enter, t.attachAll, t.find} {
		if err := step(jobs); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		t.holds(j.add.r.State, 1, j.add.r.Size)
		t.arrived(j.add.r)
	}
	return nil
}

// repeated settles a message whose key is here already.
func (t *tx) repeated(j *job, mid mail.MID) {
	j.add.mid, j.add.existing = mid, true
	t.j = j
	t.drop(j.add.r.Content)
}

// unknown settles those whose key was here and whose record is gone, and gives
// the others.
func (t *tx) unknown(jobs []*job) ([]*job, error) {
	keys := make([]any, len(jobs))
	for i, j := range jobs {
		keys[i] = string(j.add.r.Key)
	}
	known := map[mail.Key]mail.MID{}
	err := t.among("SELECT key, mid FROM known WHERE key", keys, func(rows *sql.Rows) error {
		var key string
		var mid int64
		err := rows.Scan(&key, &mid)
		known[mail.Key(key)] = mail.MID(mid)
		return err
	})
	if err != nil || len(known) == 0 {
		return jobs, err
	}
	return slices.DeleteFunc(jobs, func(j *job) bool {
		mid, ok := known[j.add.r.Key]
		if ok {
			t.repeated(j, mid)
		}
		return ok
	}), nil
}

// addRecords writes the records, settles those whose key is here already, and
// gives the others.
func (t *tx) addRecords(jobs []*job) ([]*job, error) {
	const columns = 24
	args := make([]any, 0, columns*len(jobs))
	for _, j := range jobs {
		a, r := j.add, j.add.r
		args = append(args, int64(r.MID), string(r.Key), r.Gateway, r.GatewayName, int64(r.GatewayMID), r.Hash[:], r.Size,
			a.sender, a.recipients, r.Subject, r.Display, a.folded, r.MessageID, a.detail,
			ms(r.Accepted), ms(r.Received), ms(r.Changed), int(r.State), int64(r.Version), int64(r.Actions), ms(r.Latest()),
			a.senderU, a.recipientsU, r.Attached)
	}
	added := make(map[int64]bool, len(jobs))
	err := t.insertReturning(`INSERT INTO message (mid, key, gateway, gateway_name, gateway_mid, hash, size, sender, recipients,
		subject, display, folded, message_id, detail, accepted, received, changed, state, version, actions, latest, sender_u, recipients_u, attached)`,
		"ON CONFLICT (key) DO NOTHING RETURNING mid", columns, args, func(rows *sql.Rows) error {
			var mid int64
			err := rows.Scan(&mid)
			added[mid] = true
			return err
		})
	if err != nil || len(added) == len(jobs) {
		return jobs, err
	}
	mine := jobs[:0:0]
	for _, j := range jobs {
		if added[int64(j.add.r.MID)] {
			mine = append(mine, j)
			continue
		}
		mid, err := t.lookup(j.add.r.Key) // that of the first time, which may be the same
		if err != nil {
			return nil, err
		}
		t.repeated(j, mid)
	}
	return mine, nil
}

// lookup gives the number under which a key is kept, or 0.
func (t *tx) lookup(key mail.Key) (mail.MID, error) {
	var mid int64
	_, err := t.row("SELECT mid FROM message WHERE key = $1", []any{string(key)}, &mid)
	return mail.MID(mid), err
}

// link refers to the contents; one that is kept already makes the new object
// needless.
func (t *tx) link(jobs []*job) error {
	by := make(map[mail.Hash][]*job, len(jobs))
	hashes := make([]mail.Hash, 0, len(jobs))
	for _, j := range jobs {
		h := j.add.r.Hash
		if by[h] == nil {
			hashes = append(hashes, h)
		}
		by[h] = append(by[h], j)
	}
	slices.SortFunc(hashes, func(a, b mail.Hash) int { return slices.Compare(a[:], b[:]) }) // in one order, or two managers lock each other out
	const columns = 4
	args := make([]any, 0, columns*len(hashes))
	for i := range hashes {
		list := by[hashes[i]]
		args = append(args, hashes[i][:], string(list[0].add.r.Content), list[0].add.r.Size, len(list))
	}
	return t.insertReturning("INSERT INTO content (hash, object, size, refs)",
		"ON CONFLICT (hash) DO UPDATE SET refs = content.refs + excluded.refs RETURNING hash, object", columns, args, func(rows *sql.Rows) error {
			var hash []byte
			var object string
			if err := rows.Scan(&hash, &object); err != nil {
				return err
			}
			if len(hash) != len(mail.Hash{}) {
				return errs.New(errs.Damaged, "a hash of %d bytes in the database", len(hash))
			}
			for _, j := range by[mail.Hash(hash)] {
				if object != string(j.add.r.Content) {
					t.j = j
					t.drop(j.add.r.Content)
				}
			}
			return nil
		})
}

// enter writes the memberships of new messages.
func (t *tx) enter(jobs []*job) error {
	args := make([]any, 0, membershipWidth*len(jobs))
	for _, j := range jobs {
		r := j.add.r
		for i := range r.Memberships {
			m := &r.Memberships[i]
			args = append(args, membershipArgs(r.MID, i, m)...)
			if m.State == quarantine.In {
				t.count(m.Quarantine, 1, r.Size, m.Entered)
			}
		}
	}
	_, err := t.insert("INSERT INTO membership ("+membershipColumns+")", "", membershipWidth, args)
	return err
}

// attachAll writes the attachments and texts of new messages.
func (t *tx) attachAll(jobs []*job) error {
	for _, j := range jobs {
		if err := t.attach(j.add.r.MID, j.add.files); err != nil {
			return err
		}
		if j.add.text == "" {
			continue
		}
		if err := t.exec("INSERT INTO body (mid, folded) VALUES ($1, $2)", int64(j.add.r.MID), j.add.text); err != nil {
			return err
		}
	}
	return nil
}

// find has new messages indexed: now, or behind their records.
func (t *tx) find(jobs []*job) error {
	if t.s.d.behind() {
		args := make([]any, len(jobs))
		for i, j := range jobs {
			args[i] = int64(j.add.r.MID)
		}
		_, err := t.insert("INSERT INTO pending (mid)", "", 1, args)
		return err
	}
	args := make([]any, 0, 2*len(jobs))
	for _, j := range jobs {
		args = append(args, int64(j.add.r.MID), j.add.terms)
	}
	_, err := t.insert("INSERT INTO search (rowid, terms)", "", 2, args)
	return err
}
