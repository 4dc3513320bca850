package gateway

import (
	"crypto/rand"
	"errors"
	"io"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
)

// body gives the changes of what stands behind the header that filters and mail
// policies want.
func body(edits []mail.BodyEdit) message.Body {
	b := message.Body{Why: "by a filter", Boundary: "part-" + rand.Text()}
	for _, e := range edits {
		what, _, _ := strings.Cut(e.By, " ")
		switch e.Kind {
		case mail.DropPart:
			b.Drop = append(b.Drop, message.Removal{Path: e.Part, Loose: e.Loose, Notice: e.Text})
		case mail.AddTop:
			b.Steps = append(b.Steps, message.TextStep{Top: e.Text, HTML: e.HTML, What: what})
		case mail.AddEnd:
			b.Steps = append(b.Steps, message.TextStep{End: e.Text, HTML: e.HTML, What: what})
		case mail.EditText:
			b.Steps = append(b.Steps, message.TextStep{Change: e.Change, What: what})
		case mail.ToPlain:
			b.Steps = append(b.Steps, message.TextStep{Plain: true, What: what})
		}
	}
	return b
}

// write writes the content of a part, changed: first what stands behind the
// header, by a patch that is made of a look at the whole, then the header. What
// cannot be done is said in the log; where it is not clear which attachments
// are to go, all go.
func (p processor) write(w io.Writer, x extras, mid mail.MID, part pipeline.Part, content io.Reader, open queue.Opener) error {
	patch, err := patchOf(part.Body, open)
	if err != nil {
		return err
	}
	for _, why := range patch.Undone {
		p.g.Log.Warning("MID " + mid.String() + " is not changed as asked, " + why)
	}
	if patch.Unclear {
		p.g.Log.Warning("MID " + mid.String() + " can be read in several ways: all attachments are taken out")
		x = append(x[:len(x):len(x)], mail.Extras{Strip: true})
	}
	_, err = x.copy(w, patch.Reader(content), p.edit(part))
	return err
}

// patchOf looks at a message and makes the patch of it.
func patchOf(edits []mail.BodyEdit, open queue.Opener) (*message.Patch, error) {
	if len(edits) == 0 {
		return &message.Patch{}, nil
	}
	content, err := open()
	if err != nil {
		return nil, err
	}
	patch, err := body(edits).Patch(content)
	return patch, errors.Join(err, content.Close())
}
