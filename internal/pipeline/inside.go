package pipeline

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"lazaret/internal/filter"
	"lazaret/internal/mail"
)

// Opener opens archives, documents and mail that are attached to messages.
type Opener interface {
	// Worth reports whether there may be something to open in a file that begins
	// with head, at most KindBytes. It is asked about each part of each message.
	Worth(head []byte, name string, types []string) bool

	// Message begins with a message. text asks for the text of documents and text
	// files, content for the bytes of everything.
	Message(text, content bool) Opening
}

// Opening opens the files of one message, under limits for all of them
// together. It has one user. Close must be called.
type Opening interface {
	// Open calls visit for the file itself, without its bytes, and for everything
	// in it. An error is one of content or visit, or says that nothing can be
	// opened now (temporary): what is wrong with the file is among the findings.
	Open(ctx context.Context, o Object, content io.Reader, visit func(*Inner) error) error
	Findings() []Found // so far
	Close()
}

// Object is a file to open.
type Object struct {
	Path  string // begins the paths of what is in it: "PATH:1.3"
	Name  string
	Types []string // media types that the message declares
}

// Inner is a file, or something in it. It is valid until visit returns.
type Inner struct {
	Path      string // "PATH:" is the file itself
	Name      string // as its archive tells it: valid UTF-8 of at most 1 KiB, hostile
	Type      string // by content, as Options.Kind says it: exe
	Group     string // executable
	Media     string // the media type that such a file is sent under
	Depth     int    // 0 the file itself
	Extracted bool   // Body is the text of a document, or a macro
	Text      bool   // Body is text
	Body      io.Reader
}

// Found is what was noticed of a file.
type Found struct {
	Kind, Path string // Path as that of an Inner
	Encrypted  bool   // something cannot be seen without a password
	Corrupt    bool   // something is damaged
	Unread     bool   // only its text was not read: the bytes are there for an engine
	Unopened   bool   // it is Unseen because nobody here reads its kind, or because it is damaged
	Unseen     bool   // something was not seen, encryption apart: it is never clean (P3)
	Fault      bool   // the process that opened it was lost over it
}

// Lethal is the error about a message over which the process that opens files
// was lost. It may happen again: whoever judges counts (register A7).
type Lethal struct{ Why string }

// Error implements error.
func (l *Lethal) Error() string { return "its attachments could not be opened: " + l.Why }

// names gives the name that something in an archive has there, and what is left
// of it without directories.
func (i *Inner) names() []string {
	if i.Name == "" {
		return nil
	}
	base := path.Base(strings.ReplaceAll(i.Name, `\`, "/"))
	if base == i.Name || base == "." || base == "/" {
		return []string{i.Name}
	}
	return []string{i.Name, base}
}

// inside looks into the attachments of what the engine called clean: it may
// have passed over what it has no password for, or what is beyond its limits.
// The engine reads other formats than we do, but nobody has seen what neither
// of both could read.
func (j *judgement) inside(ctx context.Context) error {
	m := j.m
	if m.site.Opener == nil || j.scan.Verdict != mail.Clean {
		return nil
	}
	if !m.sniffed || m.worth && !m.opened {
		if _, err := m.Content(ctx, filter.Want{Inside: true}); err != nil {
			return err
		}
	}
	for _, f := range m.inside {
		verdict := mail.Clean
		switch {
		case f.Encrypted:
			verdict = mail.Encrypted
		case f.Unseen && !f.Unread:
			verdict = mail.Unscannable
		}
		j.counts(mail.Scan{Verdict: verdict, Engine: "Lazaret", Name: f.Kind}, f.Unopened)
	}
	if j.left.Verdict != mail.Clean || j.scan.Verdict != mail.Clean && !j.unopened || !m.strange() {
		return nil
	}
	s, err := j.union(ctx)
	if err == nil && s.Verdict != mail.Clean {
		j.counts(s, false)
	}
	return err
}

// counts makes another verdict than the engine's first the one that counts, if
// it is graver; what nobody has finished with is the gravest. unopened says that
// it is about an archive that we do not open, and nothing worse.
func (j *judgement) counts(s mail.Scan, unopened bool) {
	graver := func(than mail.Scan) bool { return s.Verdict > than.Verdict || s.Verdict == mail.Unscanned }
	if !unopened && graver(j.left) {
		j.left = s
	}
	if !graver(j.scan) && (s.Verdict != j.scan.Verdict || unopened || !j.unopened) {
		return
	}
	if len(j.interim) == 0 {
		j.interim = []mail.Scan{j.scan}
	}
	j.scan, j.unopened = s, unopened
}

// take adds what was found in attachments to the content that filters see.
func (in *input) take(found []Found, c *filter.Content) error {
	in.inside = found
	for _, f := range found {
		if f.Fault {
			return &Lethal{Why: f.Kind}
		}
		if !slices.Contains(c.Inside, f.Kind) {
			c.Inside = append(c.Inside, f.Kind)
		}
		if f.Unseen && c.Unscannable == "" {
			c.Unscannable = f.Kind
		}
		part, _, _ := strings.Cut(f.Path, ":")
		for i := range c.Files {
			if c.Files[i].Part == part || c.Files[i].Part == f.Path {
				c.Files[i].Protected = c.Files[i].Protected || f.Encrypted
				c.Files[i].Corrupt = c.Files[i].Corrupt || f.Corrupt
			}
		}
	}
	return nil
}
