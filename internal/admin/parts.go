package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/quarantine"
)

// Limits of what show prints of a message (reference 3.4); all of it is in the
// parts, and in --content.
const (
	previewBytes  = 30 << 10
	previewHeader = 16 << 10
)

// partJSON is the object of quarantine parts --json. Names may be added, none
// changed.
type partJSON struct {
	Part       string   `json:"part"`
	Type       string   `json:"type"`
	OtherTypes []string `json:"other_types,omitempty"`
	Name       string   `json:"name"`
	OtherNames []string `json:"other_names,omitempty"`
	Size       int64    `json:"size"` // decoded
	Attachment bool     `json:"attachment"`
	Reading    int      `json:"reading,omitempty"` // above 0: what another mail program sees in the same part
}

func (q Quarantines) parts(ctx context.Context, c *Call) error {
	opt, err := c.options("--json")
	if err != nil {
		return err
	}
	mids, err := parseMIDs(c.Args)
	if err != nil || len(mids) != 1 {
		return Usage("parts needs one message ID")
	}
	if !opt.has("--json") {
		c.Printf("%-10s %14s  %s\n", "Part", "Size", "Type, name")
	}
	return q.Service.Parts(ctx, c.Principal, mids[0], nil, func(id string, p *message.Part) error {
		if id == "" || p.Role != message.Leaf && p.Role != message.Container && p.Role != message.Embedded {
			return nil
		}
		n, err := io.Copy(io.Discard, p.Body)
		if err != nil {
			return err
		}
		o := partJSON{Part: id, Type: p.Types[0], OtherTypes: p.Types[1:], Size: n, Attachment: p.IsAttachment(), Reading: p.Reading}
		if len(p.Names) > 0 {
			o.Name, o.OtherNames = p.Names[0], p.Names[1:]
		}
		if opt.has("--json") {
			return jsonLine(c, o)
		}
		size := comma(n)
		if p.Role == message.Container {
			size = "-"
		}
		says := strings.Join(p.Types, " or ")
		if len(p.Names) > 0 {
			says += ", " + strings.Join(p.Names, " or ")
		}
		c.Printf("%-10s %14s  %s\n", id, size, oneLine(says, 300))
		return c.Err()
	})
}

// part prints one part: a text as somebody reads it, or in base64 the bytes that
// an attachment has when it is saved.
func (q Quarantines) part(ctx context.Context, c *Call, mid mail.MID, want string, exact bool) error {
	found := false
	err := q.Service.Parts(ctx, c.Principal, mid, nil, func(id string, p *message.Part) error {
		if id != want || p.Role == message.Preamble || p.Role == message.Epilogue || p.Role == message.Stray {
			return nil
		}
		found = true
		switch {
		case p.Role == message.Container:
			return errs.New(errs.Invalid, "part %s of message %s holds others: quarantine parts %s names them", want, mid, mid)
		case exact:
			if err := inBase64(c, p.Body); err != nil {
				return err
			}
		case !p.IsText():
			return errs.New(errs.Invalid, "part %s of message %s is %s and no text: --base64 gives it", want, mid, Clip(p.Types[0], 80))
		default:
			text, err := readable(p, 1<<30)
			if err == nil {
				_, err = c.Write(text)
			}
			if err != nil {
				return err
			}
		}
		return quarantine.Enough()
	})
	if err == nil && !found {
		return errs.New(errs.NotFound, "message %s has no part %s: quarantine parts %s names them", mid, Clip(want, 40), mid)
	}
	return err
}

// inBase64 prints bytes in lines of 76 characters, RFC 2045 section 6.8.
func inBase64(c *Call, r io.Reader) error {
	line := make([]byte, 57)
	for {
		n, err := io.ReadFull(r, line)
		if n > 0 {
			c.Printf("%s\n", base64.StdEncoding.EncodeToString(line[:n]))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return c.Err()
		}
		if err != nil {
			return err
		}
	}
}

// readable gives at most so many bytes of a text in UTF-8. HTML becomes what is
// read of it: no scripts, nothing that is loaded from elsewhere.
func readable(p *message.Part, most int) ([]byte, error) {
	room := int64(most)
	if p.IsHTML() {
		room = min(4*room, 16<<20) // mostly not text
	}
	b, err := io.ReadAll(io.LimitReader(p.Text(), room))
	if p.IsHTML() {
		b = message.HTMLText(b)
	}
	return b[:min(len(b), most)], err
}

// preview shows the header as the gateway received it and the text as somebody
// reads it, decoded, as far as a screen is for. What is gone already is no
// error: the details are what was asked for.
func (q Quarantines) preview(ctx context.Context, c *Call, m *quarantine.Message) error {
	head := &firstBytes{most: previewHeader}
	var text bytes.Buffer
	cut := false
	err := q.Service.Parts(ctx, c.Principal, m.MID, head, func(id string, p *message.Part) error {
		if p.Role != message.Leaf || p.Reading > 0 || p.IsAttachment() {
			return nil
		}
		left := previewBytes - text.Len()
		if left <= 0 {
			cut = true
			return quarantine.Enough()
		}
		b, err := readable(p, left+1)
		if err != nil {
			return err
		}
		if text.Len() > 0 {
			text.WriteString("\n[part " + id + ", " + p.Types[0] + "]\n")
		}
		text.Write(b[:min(len(b), left)])
		cut = cut || len(b) > left
		return nil
	})
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Printf("\n")
	if _, err := c.Write(markMatches(append(append(head.header(), '\n'), text.Bytes()...), m)); err != nil {
		return err
	}
	if cut {
		c.Printf("\n(the rest: quarantine parts %s, quarantine show %s --part PART, or --content)\n", m.MID, m.MID)
	}
	return nil
}

// firstBytes keeps the beginning of what is written.
type firstBytes struct {
	b    []byte
	most int
}

// Write implements io.Writer.
func (f *firstBytes) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), f.most-len(f.b))]...)
	return len(p), nil
}

// header gives the lines up to the first empty one.
func (f *firstBytes) header() []byte {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(f.b, []byte(end)); i >= 0 {
			return f.b[:i+len(end)/2]
		}
	}
	return f.b
}
