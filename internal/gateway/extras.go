package gateway

import (
	"crypto/rand"
	"io"
	"slices"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
)

// extras are what a quarantine wants done to a message that it let go before
// its time. The manager says what; it is done here (P4).
type extras []mail.Extras

func (x extras) strip() bool {
	return slices.ContainsFunc(x, func(e mail.Extras) bool { return e.Strip })
}

// subject gives a subject with all tags.
func (x extras) subject(raw string) string {
	for _, e := range x {
		raw = e.Subject(raw)
	}
	return raw
}

// copy writes the content, changed as far as it was asked for, and gives how
// many attachments were taken out. It always reads to the end: only there is
// the content known to be what the metadata says.
// edit may have more changes, of fields.
func (x extras) copy(to io.Writer, content io.Reader, edit message.Edit) (removed int, err error) {
	edit.Strip, edit.Boundary = x.strip(), "part-"+rand.Text()
	if slices.ContainsFunc(x, func(e mail.Extras) bool { return e.Tag != "" }) {
		edit.Subject = x.subject
	}
	if edit.Strip || edit.Subject != nil || edit.Drop != nil || edit.Field != nil {
		removed, err = edit.Copy(to, content)
		to = io.Discard
	}
	if err == nil {
		_, err = io.Copy(to, content)
	}
	return removed, err
}

// mark makes the record say what the content is now.
func (x extras) mark(it *queue.Item) {
	it.Subject = x.subject(it.Subject)
	if x.strip() {
		it.Binary = false // written anew, in lines
	}
	var lines []byte
	for _, e := range x {
		lines = append(lines, e.Line()...)
	}
	it.Prepend = append(lines, it.Prepend...)
}
