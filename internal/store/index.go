package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// The index of texts is FTS5 in SQLite and an array of numbers with a GIN index
// in PostgreSQL. FTS5 is written behind the records, many at once: with
// every small commit for itself it would cost more than all else. A message is
// in the table pending with the commit that brings it, and leaves it with the
// one that indexes it, so a search that looks at both misses nothing. What an
// earlier version brought is in pending in both.
const (
	indexBatch = 500                    // messages indexed in one transaction: others wait for it
	indexFirst = 125                    // and in the first one: nobody knows how long the texts are
	indexWhile = 100 * time.Millisecond // what a transaction should take at most
	indexDelay = 200 * time.Millisecond // what gathers behind the first
	indexRetry = 10 * time.Second       // after an error
)

// indexLoop keeps the index up.
func (s *Store) indexLoop() {
	if err := s.sample(context.Background()); err != nil {
		s.fault(errs.Context(err, "counting what is common"))
	}
	wait := time.NewTimer(0) // what an earlier life left
	defer wait.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-wait.C:
		}
		if err := s.indexAll(context.Background()); err != nil && !errs.Is(err, errs.Closed) {
			if !isAway(err) { // that is said by the writer
				s.fault(errs.Context(err, "indexing messages"))
			}
			wait.Reset(indexRetry)
			continue
		}
		select {
		case <-s.done:
			return
		case <-s.pending:
			wait.Reset(indexDelay)
		}
	}
}

// indexAll indexes until nothing waits. Of nothing the writer hears nothing.
func (s *Store) indexAll(ctx context.Context) error {
	for {
		waiting, err := s.mids(ctx, "looking for what is not indexed", "SELECT mid FROM pending LIMIT 1")
		if err != nil || len(waiting) == 0 {
			return err
		}
		n := indexFirst
		for more := true; more; {
			began := time.Now()
			if more, err = s.indexSome(ctx, n); err != nil {
				return err
			}
			if took := time.Since(began); took > indexWhile {
				n = max(n/2, 1)
			} else if took < indexWhile/2 {
				n = min(2*n, indexBatch)
			}
		}
	}
}

// toIndex says that there is something to be indexed.
func (s *Store) toIndex() {
	select {
	case s.pending <- struct{}{}:
	default:
	}
}

// indexSome indexes the newest messages of those that wait; more when there may
// be others. After an upgrade these are all.
func (s *Store) indexSome(ctx context.Context, n int) (more bool, err error) {
	err = s.do(ctx, false, func(t *tx) error {
		more = false
		list, err := t.unindexed(n)
		if err != nil || len(list) == 0 {
			return err
		}
		more = true
		var docs []*document
		err = t.each("SELECT "+documentColumns+" FROM "+s.d.array("$1")+" j CROSS JOIN message m WHERE m.mid = j.value", []any{jsonNumbers(list)}, func(rows *sql.Rows) error {
			d, err := scanDocument(rows)
			docs = append(docs, d)
			return err
		})
		if err == nil {
			err = insides(docs, t.each, t.s.d)
		}
		slices.SortFunc(docs, func(a, b *document) int { return cmp.Compare(a.mid, b.mid) }) // the index takes them best so
		for i := 0; err == nil && i < len(docs); i++ {
			err = t.index(docs[i])
		}
		return err
	})
	return more, err
}

// unindexed takes the newest messages from those that wait. Where several
// managers do it at once, the later one gets what the other left.
func (t *tx) unindexed(n int) (out []mail.MID, err error) {
	err = t.each("DELETE FROM pending WHERE mid IN (SELECT mid FROM pending ORDER BY mid DESC LIMIT $1"+t.s.d.mine()+") RETURNING mid", []any{n}, func(rows *sql.Rows) error {
		var mid int64
		err := rows.Scan(&mid)
		out = append(out, mail.MID(mid))
		return err
	})
	return out, err
}

// document is what of a message is indexed.
type document struct {
	mid                                  mail.MID
	sender, recipients                   string // as stored
	senderU, recipientsU, folded, stored string // folded as of now, and as it is stored
	messageID, gateway, gatewayName      string
	files                                []attachmentRow
	body                                 string // folded
}

// documentColumns are read by scanDocument.
const documentColumns = "m.mid, m.sender, m.recipients, m.display, m.folded, m.message_id, m.gateway, m.gateway_name"

func scanDocument(rows *sql.Rows) (*document, error) {
	d := new(document)
	var mid int64
	var display string
	if err := rows.Scan(&mid, &d.sender, &d.recipients, &display, &d.stored, &d.messageID, &d.gateway, &d.gatewayName); err != nil {
		return nil, err
	}
	for _, s := range []*string{&d.sender, &d.recipients, &display, &d.stored, &d.messageID, &d.gatewayName} {
		*s = unescape(*s)
	}
	d.mid, d.folded = mail.MID(mid), quarantine.Fold(display)
	d.senderU, d.recipientsU = unicodeAddresses(d.sender), unicodeAddresses(d.recipients)
	return d, nil
}

// index writes one document. What an earlier version folded otherwise is set
// right.
func (t *tx) index(d *document) error {
	if d.folded != d.stored {
		if err := t.exec("UPDATE message SET folded = $1 WHERE mid = $2", d.folded, int64(d.mid)); err != nil {
			return err
		}
	}
	if d.senderU != "" || d.recipientsU != "" {
		if err := t.exec("UPDATE message SET sender_u = $1, recipients_u = $2 WHERE mid = $3", d.senderU, d.recipientsU, int64(d.mid)); err != nil {
			return err
		}
	}
	terms := d.terms()
	t.s.census.take(terms)
	if !t.s.d.behind() { // another manager may have been at it as well
		if err := t.exec("DELETE FROM search WHERE rowid = $1", int64(d.mid)); err != nil {
			return err
		}
	}
	return t.exec("INSERT INTO search (rowid, terms) VALUES ($1, $2)", int64(d.mid), t.s.d.terms(terms))
}

// terms gives what the document is found by.
func (d *document) terms() []term {
	out := make([]term, 0, 256)
	out = grams(out, senderField, framed(asciiLower(d.sender)))
	out = grams(out, recipientField, asciiLower(d.recipients)) // has its line feeds
	out = grams(out, subjectField, framed(d.folded))
	if d.senderU != "" {
		out = grams(out, senderField, framed(d.senderU))
	}
	out = grams(out, recipientField, d.recipientsU)
	if id := foldMessageID(d.messageID); id != "" {
		out = append(out, wholeTerm(messageIDField, id))
	}
	out = attachmentTerms(out, d.files)
	out = grams(out, bodyField, d.body)
	name := asciiLower(d.gatewayName)
	label, _, _ := strings.Cut(name, ".")
	for _, g := range []string{asciiLower(d.gateway), name, label} {
		out = append(out, wholeTerm(gatewayField, g))
	}
	return out
}

// asciiLower folds as lower() does in SQL.
func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// unicodeAddresses gives one address, or several between line feeds, as people
// write them, folded; nothing when that is the same as what SQL compares.
func unicodeAddresses(s string) string {
	if isASCII(s) && !strings.Contains(s, "xn--") {
		return ""
	}
	parts := strings.Split(s, "\n")
	for i, p := range parts {
		if a, err := mail.ParseAddress(p); err == nil {
			parts[i] = quarantine.Fold(a.Unicode())
		}
	}
	if u := strings.Join(parts, "\n"); u != asciiLower(s) {
		return u
	}
	return ""
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// foldMessageID gives a Message-ID as it is compared: with or without its
// brackets, whatever the case.
func foldMessageID(s string) string {
	return quarantine.Fold(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">"))
}
