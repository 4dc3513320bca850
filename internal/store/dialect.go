package store

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// dialect is all that differs between the databases. The statements of this
// package are written in what both understand: $1 for arguments, ON CONFLICT,
// RETURNING, BIGINT for times (milliseconds since 1970) and numbers.
type dialect interface {
	// name is part of the names of migration files.
	name() string
	// place says in messages which database it is; never with a password.
	place() string
	// read opens the pool of readers, write that of the one writer.
	read(conns int) (*sql.DB, error)
	write() (*sql.DB, error)
	// alone keeps other programs out of a migration until it is called again
	// with false.
	alone(ctx context.Context, c *sql.Conn, on bool) error
	// begin is the statement that begins a writer's transaction.
	begin() string
	// flush makes commits on c reach stable storage, or ride with a later one.
	flush(ctx context.Context, c *sql.Conn, on bool) error
	// snapshot makes several statements of a reader see one moment.
	snapshot() *sql.TxOptions
	// has is the condition that a text contains the argument ?.
	has(column string) string
	// bytewise has a text compared byte by byte.
	bytewise(text string) string
	// array makes rows with the columns key and value of an argument that is a
	// JSON array of numbers.
	array(arg string) string
	// argument stands in a statement for its argument number n, in their order.
	argument(n int) string
	// behind says that the index of texts, the table search, is written behind
	// the records, and not with them.
	behind() bool
	// terms gives terms as the table search keeps them.
	terms([]term) string
	// match is the condition that a row of search has all of the argument $1,
	// which asked makes of terms.
	match() string
	asked([]term) string
	// mine is appended to a SELECT of a row that the same transaction changes:
	// until it ends nobody else does.
	mine() string
	// exclude makes a transaction wait until no other one is in the same thing.
	exclude(t *tx, thing string) error
	// shared says that it is a server, which may be away, and which other
	// managers may work on too.
	shared() bool
	// prepares says whether the writer keeps its statements prepared itself.
	prepares() bool
}

// sqlError gives a database error its kind.
func sqlError(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	kind, known := sqliteKind(err)
	if !known {
		kind, known = postgresKind(err)
	}
	if !known && isOver(err) {
		kind = errs.Temporary
	}
	err = errs.Wrap(kind, err, format, args...)
	if known && isAway(err) {
		return errs.Wrap(kind, err, "the database cannot be reached")
	}
	return err
}

// Text in a database is UTF-8 without NUL, and mail is not: each byte that
// cannot stand there is kept as a character of its own, of a block that is
// nobody's (a private use area). What is read back is the same, byte for byte.
const (
	oddFirst = 0x10FE00 // stands for byte 0
	oddLast  = oddFirst + 0xff
	oddStart = "\xf4\x8f" // how all of them begin in UTF-8
)

// escape makes a text one that databases take.
func escape(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) && !strings.Contains(s, oddStart) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0 || r == utf8.RuneError && n == 1 || r >= oddFirst && r <= oddLast {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(oddFirst + rune(c))
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescape gives the text as it was before escape.
func unescape(s string) string {
	if !strings.Contains(s, oddStart) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= oddFirst && r <= oddLast {
			b = append(b, byte(r-oddFirst))
		} else {
			b = append(b, string(r)...)
		}
	}
	return string(b)
}

// bind makes the texts among arguments ones that databases take.
func bind(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = escape(s)
		}
	}
	return args
}
