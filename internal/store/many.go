package store

import (
	"database/sql"
	"strings"
)

// mostRows is how many rows one statement has at most. There is a text to be
// prepared for each number up to that.
const mostRows = 32

// form is a statement for any number of rows.
type form struct {
	head, tail string
	columns    int
	rows       bool     // each in brackets
	types      []string // of the columns, where the database cannot tell
}

// textKey is a form for so many rows.
type textKey struct {
	head, tail string
	rows       int
}

// insert adds rows with so many columns each, and gives how many were added.
func (t *tx) insert(head, tail string, columns int, args []any) (added int64, err error) {
	f := form{head: head + " VALUES ", tail: " " + tail, columns: columns, rows: true}
	err = t.split(f, args, func(query string, args []any) error {
		n, err := t.execN(query, args...)
		added += n
		return err
	})
	return added, err
}

// insertReturning adds rows and reads what the statement gives back.
func (t *tx) insertReturning(head, tail string, columns int, args []any, each func(*sql.Rows) error) error {
	f := form{head: head + " VALUES ", tail: " " + tail, columns: columns, rows: true}
	return t.split(f, args, func(query string, args []any) error { return t.each(query, args, each) })
}

// among reads the rows of which a column is among values; head ends with the
// column.
func (t *tx) among(head string, values []any, each func(*sql.Rows) error) error {
	f := form{head: head + " IN (", tail: ")", columns: 1}
	return t.split(f, values, func(query string, args []any) error { return t.each(query, args, each) })
}

// split calls run with statements for pieces of args.
func (t *tx) split(f form, args []any, run func(string, []any) error) error {
	for len(args) > 0 {
		n := min(mostRows, len(args)/f.columns)
		if err := run(t.s.text(&f, n), args[:n*f.columns]); err != nil {
			return err
		}
		args = args[n*f.columns:]
	}
	return nil
}

// text gives the statement for so many rows; each is made once.
func (s *Store) text(f *form, n int) string {
	key := textKey{f.head, f.tail, n}
	if q, ok := s.w.forms[key]; ok {
		return q
	}
	var b strings.Builder
	b.WriteString(f.head)
	for i := range n * f.columns {
		first := f.rows && i%f.columns == 0
		switch {
		case first && i > 0:
			b.WriteString("), (")
		case first:
			b.WriteString("(")
		case i > 0:
			b.WriteString(", ")
		}
		arg := s.d.argument(i + 1)
		if i < len(f.types) {
			arg = "CAST(" + arg + " AS " + f.types[i] + ")"
		}
		b.WriteString(arg)
	}
	if f.rows {
		b.WriteString(")")
	}
	b.WriteString(f.tail)
	if s.w.forms == nil {
		s.w.forms = make(map[textKey]string)
	}
	s.w.forms[key] = b.String()
	return b.String()
}
