package quarantine

import (
	"encoding/base64"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Column is what a list is sorted by. Messages that are the same in it come in
// the order of arrival.
type Column uint8

// The columns.
const (
	ByArrival    Column = iota // the order of MIDs
	BySender                   // as people write it, whatever the case
	ByRecipient                // the first one, in the same way
	BySubject                  // decoded, whatever the case
	BySize                     //
	ByQuarantine               // the first by name of those that may be seen
	ByExit                     // the next scheduled exit; what is held nowhere comes last
	ByGateway                  // by name
	numColumns
)

var columnNames = [numColumns]string{"received", "sender", "recipient", "subject", "size", "quarantine", "exit", "gateway"}

// String gives the column's name.
func (c Column) String() string { return name(columnNames[:], int(c)) }

// ParseColumn reads what String writes.
func ParseColumn(s string) (Column, error) {
	for i, n := range columnNames {
		if s == n {
			return Column(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "there is no order by %q: %s", clip(s), strings.Join(columnNames[:], ", "))
}

// Numeric reports whether the values of the column are numbers.
func (c Column) Numeric() bool { return c == BySize || c == ByExit }

// Cursor is a place in a list: behind one message of it. It stays the same
// place when others come in, and when the message itself is decided about.
type Cursor struct {
	MID  mail.MID // 0: the beginning
	By   Column
	Rank string // value of the column by which the message stood there
}

// String gives the cursor as one word: the MID, and for other orders than that
// of arrival what the message was sorted by.
func (c Cursor) String() string {
	if c.By == ByArrival {
		return c.MID.String()
	}
	return c.MID.String() + "-" + base64.RawURLEncoding.EncodeToString(append([]byte{byte(c.By)}, c.Rank...))
}

// ParseCursor reads what String writes.
func ParseCursor(s string) (c Cursor, err error) {
	number, rest, sorted := strings.Cut(s, "-")
	if c.MID, err = mail.ParseMID(number); err != nil || !sorted {
		return c, err
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(b) == 0 || Column(b[0]) == ByArrival || Column(b[0]) >= numColumns || len(b) > MaxText {
		return c, errs.New(errs.Invalid, "%q is not a place in a list: give it as it was printed", clip(s))
	}
	c.By, c.Rank = Column(b[0]), string(b[1:])
	return c, nil
}

// Total is how many messages a query finds.
type Total struct {
	Messages int64
	Exact    bool // false: an estimate from a part of what is held
}
