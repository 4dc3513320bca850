package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/quarantine"
)

// attachmentRow is an attachment as it is stored and compared. folded and types
// stand between line feeds, as recipients do: all comparisons are pieces.
type attachmentRow struct {
	part, names, folded, types string
	size                       int64
}

func attachmentRows(list []message.Attachment) []attachmentRow {
	out := make([]attachmentRow, len(list))
	for i, a := range list {
		names := strings.Join(a.Names, "\n") // Outline leaves no line feed in one
		out[i] = attachmentRow{a.Part, names, framed(quarantine.Fold(names)), framed(asciiLower(strings.Join(a.Types, "\n"))), a.Size}
	}
	return out
}

func (a *attachmentRow) attachment() message.Attachment {
	out := message.Attachment{Part: a.part, Types: strings.Split(strings.Trim(a.types, "\n"), "\n"), Size: a.size}
	if a.names != "" {
		out.Names = strings.Split(a.names, "\n")
	}
	return out
}

// attachmentColumns are read by scanAttachment.
const attachmentColumns = "a.mid, a.part, a.names, a.folded, a.types, a.size"

func scanAttachment(rows *sql.Rows) (mid int64, a attachmentRow, err error) {
	err = rows.Scan(&mid, &a.part, &a.names, &a.folded, &a.types, &a.size)
	for _, s := range []*string{&a.part, &a.names, &a.folded, &a.types} {
		*s = unescape(*s)
	}
	return mid, a, err
}

// attach writes the attachments of a message.
func (t *tx) attach(mid mail.MID, files []attachmentRow) error {
	for i, a := range files {
		err := t.exec("INSERT INTO attachment (mid, pos, part, names, folded, types, size) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			int64(mid), i, a.part, a.names, a.folded, a.types, a.size)
		if err != nil {
			return err
		}
	}
	return nil
}

// completeInsides reads the attachments of records.
func completeInsides(ctx context.Context, d dialect, read reading, by map[int64]*quarantine.Record, in []any) error {
	return read(ctx, "SELECT "+attachmentColumns+" FROM "+d.array("$1")+" j CROSS JOIN attachment a WHERE a.mid = j.value ORDER BY j.key, a.pos", in, func(rows *sql.Rows) error {
		mid, a, err := scanAttachment(rows)
		if err == nil {
			by[mid].Attachments = append(by[mid].Attachments, a.attachment())
		}
		return err
	})
}

// insides reads what is inside of what is to be indexed.
func insides(docs []*document, each func(string, []any, func(*sql.Rows) error) error, d dialect) error {
	by := make(map[int64]*document, len(docs))
	mids := make([]mail.MID, len(docs))
	for i, doc := range docs {
		by[int64(doc.mid)], mids[i] = doc, doc.mid
	}
	list := jsonNumbers(mids)
	err := each("SELECT "+attachmentColumns+" FROM "+d.array("$1")+" j CROSS JOIN attachment a WHERE a.mid = j.value", []any{list}, func(rows *sql.Rows) error {
		mid, a, err := scanAttachment(rows)
		if err == nil {
			by[mid].files = append(by[mid].files, a)
		}
		return err
	})
	if err != nil {
		return err
	}
	return each("SELECT b.mid, b.folded FROM "+d.array("$1")+" j CROSS JOIN body b WHERE b.mid = j.value", []any{list}, func(rows *sql.Rows) error {
		var mid int64
		var folded string
		err := rows.Scan(&mid, &folded)
		if err == nil {
			by[mid].body = unescape(folded)
		}
		return err
	})
}

// Sizes are indexed by powers of four, from 1 KiB: nobody looks for less.
const (
	leastPower = 5
	mostPower  = 20
)

func sizeTerm(power int) term { return newTerm(sizeField, rune(power), none, none) }

// attachmentTerms adds what attachments are found by.
func attachmentTerms(to []term, files []attachmentRow) []term {
	most := int64(0)
	for _, a := range files {
		to = grams(to, attachmentField, a.folded)
		to = grams(to, typeField, a.types)
		most = max(most, a.size)
	}
	for p := leastPower; p <= mostPower && most>>(2*p) > 0; p++ {
		to = append(to, sizeTerm(p))
	}
	return to
}

// attachmentQuestion gives what the index can be asked for.
func attachmentQuestion(q quarantine.Attachment) (out [][]term) {
	for f, t := range map[field]quarantine.Text{attachmentField: q.Name, typeField: q.Type} {
		if !t.Any() && !t.Not {
			if terms := asked(nil, f, piece(t)); len(terms) > 0 {
				out = append(out, terms)
			}
		}
	}
	for p := mostPower; p >= leastPower; p-- {
		if q.Min>>(2*p) > 0 {
			return append(out, []term{sizeTerm(p)})
		}
	}
	return out
}

// attachment adds the condition on attachments: one that has all that is asked
// for, and none that has what is not wanted.
func (w *where) attachment(q quarantine.Attachment) {
	if q.Any() {
		return
	}
	const some = "EXISTS (SELECT 1 FROM attachment a WHERE a.mid = m.mid"
	var one []string
	var args []any
	for _, c := range []struct {
		column string
		text   quarantine.Text
	}{{"a.folded", q.Name}, {"a.types", q.Type}} {
		switch {
		case c.text.Any():
		case c.text.Not:
			w.add("NOT "+some+" AND "+w.d.has(c.column)+")", piece(c.text))
		default:
			one, args = append(one, w.d.has(c.column)), append(args, piece(c.text))
		}
	}
	if q.Min > 0 {
		one, args = append(one, "a.size >= ?"), append(args, q.Min)
	}
	if q.Max > 0 {
		one, args = append(one, "a.size <= ?"), append(args, q.Max)
	}
	if len(one) > 0 {
		w.add(some+" AND "+strings.Join(one, " AND ")+")", args...)
	}
}

// body adds the condition on the text of a message.
func (w *where) body(t quarantine.Text) {
	if t.Any() {
		return
	}
	cond := "EXISTS (SELECT 1 FROM body x WHERE x.mid = m.mid AND " + w.d.has("x.folded") + ")"
	if t.Not {
		cond = "NOT " + cond
	}
	w.add(cond, bodyPiece(t))
}

// bodyPiece is what is looked for: blanks as the text has them.
func bodyPiece(t quarantine.Text) string {
	return quarantine.Fold(strings.Join(strings.Fields(t.Text), " "))
}

// NotLooked implements quarantine.Insides.
func (s *Store) NotLooked(ctx context.Context, limit int) ([]mail.MID, error) {
	return s.mids(ctx, "looking for messages that nobody looked into",
		"SELECT mid FROM message WHERE attached = -1 AND state NOT IN (3, 5) ORDER BY mid DESC LIMIT $1", limit)
}

// SetInside implements quarantine.Insides. What is found is indexed anew.
func (s *Store) SetInside(ctx context.Context, found []quarantine.Inside) error {
	err := s.do(ctx, false, func(t *tx) error {
		for _, in := range found {
			n, err := t.execN("UPDATE message SET attached = $1 WHERE mid = $2 AND attached = -1", in.Attached, int64(in.MID))
			if err != nil {
				return err
			}
			if n == 0 || len(in.Attachments) == 0 {
				continue // somebody else did, or nothing is new
			}
			if err := t.attach(in.MID, attachmentRows(in.Attachments)); err != nil {
				return err
			}
			if err := t.exec("DELETE FROM search WHERE rowid = $1", int64(in.MID)); err != nil {
				return err
			}
			if err := t.exec("INSERT INTO pending (mid) VALUES ($1) ON CONFLICT (mid) DO NOTHING", int64(in.MID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(found, func(in quarantine.Inside) bool { return len(in.Attachments) > 0 }) {
		s.toIndex()
	}
	return err
}

// lookForTexts sees whether there are texts of messages: another manager may
// have brought the first one. Where there are none, nothing is spent on them.
func (s *Store) lookForTexts(ctx context.Context) error {
	if s.texts.Load() {
		return nil
	}
	list, err := s.mids(ctx, "looking for texts of messages", "SELECT mid FROM body LIMIT 1")
	if len(list) > 0 {
		s.texts.Store(true)
	}
	return err
}
