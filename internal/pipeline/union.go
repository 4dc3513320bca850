package pipeline

import (
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// traceField is put in front of a message for the engine. An engine guesses by
// the first lines what it is given: a message whose sender left out the fields
// of mail would be one long text to it, and nothing in it decoded.
const traceField = "Received: from unknown by localhost with ESMTP; Thu, 01 Jan 2026 00:00:00 +0000\r\n"

// asMail gives content with the look of mail.
func asMail(open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return fronted{io.MultiReader(strings.NewReader(traceField), r), r}, nil
	}
}

// fronted is content with something in front of it.
type fronted struct {
	io.Reader
	io.Closer
}

// untold are findings about names and fields only: they do not change what the
// parts of a message hold.
var untold = [...]message.Kind{message.MIMEVersion, message.DuplicateField, message.EncodedName, message.NameAmbiguous, message.ExternalBody, message.SpaceBeforeColon}

// hiding are the findings in attachments that say that other readers may see
// something else, or not as much as we do.
var hiding = [...]string{"unusual-method", "macro", "hidden-member", "duplicate-member", "overlapping-member", "archive-in-other", "embedded-object"}

// strange reports whether an engine may read a message in another way than we
// do (register C1), or not at all.
func (in *input) strange() bool {
	return in.odd ||
		slices.ContainsFunc(in.parts, func(f message.Finding) bool { return !slices.Contains(untold[:], f.Kind) }) ||
		slices.ContainsFunc(in.inside, func(f Found) bool { return slices.Contains(hiding[:], f.Kind) })
}

// oddCharset reports whether text has other bytes for ASCII than ASCII has.
func oddCharset(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "utf-16") || strings.HasPrefix(name, "utf-32") || strings.HasPrefix(name, "utf-7") || strings.HasPrefix(name, "utf16") || strings.HasPrefix(name, "ebcdic") || strings.HasPrefix(name, "iso-2022")
}

// union has the engine scan what we see in a message, every reading of every
// part and all that is in the attachments, as one plain message.
func (j *judgement) union(ctx context.Context) (mail.Scan, error) {
	open := func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.CloseWithError(j.render(ctx, w)) // it is the reader's error
		}()
		return rendering{r, done}, nil
	}
	s, err := j.s.Engine.Scan(ctx, mail.Hash{}, j.in.Size, open)
	return s, errs.Context(err, "scanning the parts")
}

// rendering is a message that is being made.
type rendering struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the making, and waits for its end.
func (r rendering) Close() error {
	err := r.PipeReader.Close()
	<-r.done
	return err
}

// render writes the plain message.
func (j *judgement) render(ctx context.Context, to io.Writer) error {
	const boundary = "=_union" // not in base64
	in := *j.m                 // what is found on the way is known already
	if _, err := io.WriteString(to, traceField+"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\""+boundary+"\"\r\n\r\n"); err != nil {
		return err
	}
	var part io.WriteCloser // under way
	text := func(p filter.Piece) error {
		if part == nil {
			if _, err := io.WriteString(to, "--"+boundary+"\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"); err != nil {
				return err
			}
			part = base64.NewEncoder(base64.StdEncoding, &lines{to: to})
		}
		if _, err := part.Write(p.Bytes); err != nil || !p.Last {
			return err
		}
		err := part.Close()
		part = nil
		if err == nil {
			_, err = io.WriteString(to, "\r\n")
		}
		return err
	}
	if _, err := in.Content(ctx, filter.Want{Text: text, Binary: true, Inside: true}); err != nil {
		return err
	}
	_, err := io.WriteString(to, "--"+boundary+"--\r\n")
	return err
}

// lines breaks base64 into lines.
type lines struct {
	to io.Writer
	n  int
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	const width = 76
	for rest := b; len(rest) > 0; {
		n := min(len(rest), width-l.n)
		if _, err := l.to.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
		if l.n += n; l.n == width {
			if _, err := io.WriteString(l.to, "\r\n"); err != nil {
				return 0, err
			}
			l.n = 0
		}
	}
	return len(b), nil
}
