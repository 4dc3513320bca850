package bounce

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Notice is a message that a filter or a mail policy sends about another one.
// Its envelope sender is the null path, as of a report: nothing comes back.
type Notice struct {
	Hostname string
	From     string // Name <address> or address, checked, not empty
	To       mail.Address
	Subject  string // hostile, and so is Text in part: values of variables
	Text     string // lines
	Now      time.Time
	ID       string // unique here, for Message-ID
	Secret   string // nobody outside can know it beforehand
	Marker   []mail.Header
	Original io.Reader // attached; nil: nothing is
}

// MaxCopy is the largest message that is attached whole to a notice; of a larger
// one, or one that cannot travel as it is, the header is.
const MaxCopy = 5 << 20

// Content gives the whole message.
func (n *Notice) Content() ([]byte, error) {
	var w writer
	for _, h := range n.Marker {
		w.field(h.Name(), h.Value())
	}
	w.field("Date", n.Now.Format(dateForm))
	w.field("From", encodeSender(n.From))
	w.field("To", n.To.Path())
	w.field("Subject", encodeWords(clean(n.Subject, maxSubject+40, true)))
	w.field("Message-ID", "<"+n.ID+"@"+n.Hostname+">")
	w.field("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	w.field("MIME-Version", "1.0")
	encoding, text := message.EncodeText([]byte(strings.ToValidUTF8(n.Text, "?")))
	own := func() {
		w.field("Content-Type", "text/plain; charset=utf-8")
		w.field("Content-Transfer-Encoding", encoding)
		w.blank()
		w.b.Write(text)
	}
	if n.Original == nil {
		own()
		return w.b.Bytes(), w.err
	}
	back, err := readUpTo(n.Original, true, MaxCopy)
	if err != nil {
		return nil, errs.Context(err, "reading the message")
	}
	p := part{kind: "text/rfc822-headers", name: "Header of the message", body: back.text}
	if back.whole {
		p.kind, p.name = "message/rfc822", "Message"
	}
	sum := sha256.Sum256([]byte(n.Secret + n.ID))
	boundary := "=_" + hex.EncodeToString(sum[:15])
	w.field("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	if eight([]part{p}) {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.lines("\n--" + boundary)
	own()
	w.lines("\n--" + boundary)
	p.write(&w)
	w.lines("\n--" + boundary + "--")
	return w.b.Bytes(), w.err
}

// encodeSender writes the value of a From field: its name encoded when it must be.
func encodeSender(from string) string {
	i := strings.LastIndexByte(from, '<')
	if i <= 0 || ascii(from[:i]) {
		return from
	}
	return encodeWords(clean(strings.Trim(strings.TrimSpace(from[:i]), `"`), 200, true)) + " " + from[i:]
}
