package unpack

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/unpack/wire"
)

// Want says which bytes a caller needs. Without any, findings, names and types
// are given all the same.
type Want struct {
	Content bool // the bytes of what is inside, for scanning
	Text    bool // text to match: extracted, and that of text files inside
}

// Object is a file to open.
type Object struct {
	Path  string   // of the part of the message
	Name  string   // as the message tells it
	Types []string // as the message tells them
}

// Message unpacks what one message has, under limits for all of it together.
// Not for concurrent use. Close must be called.
type Message struct {
	p      *Pool
	want   Want
	w      *worker
	report Report
	faults int
}

// maxFaults is how many workers one message may cost. What follows is unseen.
const maxFaults = 2

// Message begins with a message. It takes a worker when there is an object for it.
func (p *Pool) Message(want Want) *Message { return &Message{p: p, want: want} }

// Report gives what was found so far.
func (m *Message) Report() *Report { return &m.report }

// Close gives the worker back.
func (m *Message) Close() {
	if m.w != nil {
		m.p.put(m.w, true)
		m.w = nil
	}
}

// Unpack opens a file and calls visit for the file itself, without its bytes,
// and for everything in it. An error is that of content or visit, or says that
// there is no worker now (Temporary). What is wrong with the file, and what
// becomes of the worker over it, stands in the Report.
func (m *Message) Unpack(ctx context.Context, o Object, content io.Reader, visit func(*Part) error) error {
	if m.faults >= maxFaults {
		m.report.add(Finding{WorkerDied, o.Path, "not opened after what came before"})
		return nil
	}
	if m.w == nil {
		w, err := m.p.get(ctx)
		if err != nil {
			return err
		}
		m.w = w
	}
	x := &exchange{m: m, w: m.w, o: o, visit: visit}
	err := x.run(ctx, content)
	if err == nil {
		return nil
	}
	m.p.put(m.w, false)
	m.w = nil
	var f fault
	if !errors.As(err, &f) {
		return err
	}
	m.faults++
	m.report.add(Finding{f.kind, o.Path, clip(f.detail)})
	return nil
}

// fault is an error of the worker.
type fault struct {
	kind   Kind
	detail string
}

func (f fault) Error() string { return string(f.kind) + ": " + f.detail }

// exchange is one object on its way through a worker.
type exchange struct {
	m     *Message
	w     *worker
	o     Object
	visit func(*Part) error
	late  bool
}

// run sends the object and takes what comes back. The worker is killed when it
// is late, and when ctx ends.
func (x *exchange) run(ctx context.Context, content io.Reader) error {
	stop := context.AfterFunc(ctx, x.w.shoot)
	defer stop()
	if err := x.send(content); err != nil {
		return x.judge(ctx, err)
	}
	// The clock starts when the worker has all of it, and stands still while
	// visit works: each frame is waited for by itself, and the worker counts
	// its own time.
	return x.judge(ctx, x.receive())
}

// judge tells what an error of the exchange means.
func (x *exchange) judge(ctx context.Context, err error) error {
	var own callerError
	var f fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.error
	case errors.As(err, &f):
		return f
	case ctx.Err() != nil:
		return errs.Wrap(errs.Temporary, ctx.Err(), "unpacking")
	case x.late:
		return fault{WorkerHung, "no answer in " + (x.m.p.o.Limits.Time + x.m.p.o.Grace).String()}
	case errs.Is(err, errs.Invalid):
		return fault{WorkerLied, err.Error()}
	}
	return fault{WorkerDied, x.w.obituary()}
}

// callerError is an error of content or visit.
type callerError struct{ error }

// watch has the worker killed when what follows takes too long.
func (x *exchange) watch() (done func()) {
	d := x.m.p.o.Limits.Time + x.m.p.o.Grace
	timer := time.AfterFunc(d, x.w.shoot)
	return func() { x.late = !timer.Stop() || x.late }
}

func (x *exchange) send(content io.Reader) error {
	c := x.w.conn
	err := c.Send(wire.KindBegin, wire.Begin{Name: clip(x.o.Name), Types: x.o.Types[:min(len(x.o.Types), 8)],
		Limits: x.m.p.o.Limits.wire(x.m.report), Content: x.m.want.Content, Text: x.m.want.Text})
	if err != nil {
		return err
	}
	buf := make([]byte, wire.MaxData)
	for {
		n, rerr := content.Read(buf)
		done := x.watch()
		err := c.Data(buf[:n])
		done()
		switch {
		case err != nil:
			return err
		case rerr == io.EOF:
			if err := c.Send(wire.KindEnd, wire.End{}); err != nil {
				return err
			}
			done := x.watch()
			defer done()
			return c.Flush()
		case rerr != nil:
			return callerError{rerr}
		}
	}
}

// next waits for a frame.
func (x *exchange) next() (wire.Kind, []byte, error) {
	done := x.watch()
	defer done()
	k, p, err := x.w.conn.Next()
	return k, p, err
}

func (x *exchange) receive() error {
	for parts := 0; ; {
		k, p, err := x.next()
		if err != nil {
			return err
		}
		switch k {
		case wire.KindNote:
			err = x.note(p)
		case wire.KindPart:
			if parts++; parts > 3*x.m.p.o.Limits.Parts+10 {
				return fault{WorkerLied, "more parts than allowed"}
			}
			err = x.part(p)
		case wire.KindDone:
			return x.done(p)
		default:
			return errs.New(errs.Invalid, "a frame %c between parts", k)
		}
		if err != nil {
			return err
		}
	}
}

func (x *exchange) note(p []byte) error {
	var n wire.Note
	if err := wire.Decode(p, &n); err != nil {
		return err
	}
	k := Kind(n.Kind)
	if !k.known() {
		return errs.New(errs.Invalid, "an unknown finding")
	}
	x.m.report.add(Finding{k, x.path(n.Path), clip(n.Detail)})
	return nil
}

func (x *exchange) done(p []byte) error {
	var d wire.Done
	if err := wire.Decode(p, &d); err != nil {
		return err
	}
	// A worker stops at the limit, some bytes behind it.
	l := x.m.p.o.Limits
	if d.Parts < 0 || d.Bytes < 0 || d.Parts > 2*l.Parts+10 || d.Bytes > 2*l.Bytes+1<<20 {
		return errs.New(errs.Invalid, "counts that cannot be")
	}
	x.m.report.Parts += d.Parts
	x.m.report.Bytes += d.Bytes
	return nil
}

func (x *exchange) path(inner string) string { return x.o.Path + ":" + clip(inner) }

// part gives one part to the caller.
func (x *exchange) part(p []byte) error {
	var h wire.Part
	if err := wire.Decode(p, &h); err != nil {
		return err
	}
	body := &partBody{x: x}
	part := &Part{Path: x.path(h.Path), Name: clip(h.Name), Type: clip(h.Type), Group: clip(h.Group), Depth: h.Depth, View: h.View, Body: body}
	if err := x.visit(part); err != nil {
		return callerError{err}
	}
	for body.err == nil {
		body.fill()
	}
	if body.err != io.EOF {
		return body.err
	}
	return nil
}

// partBody gives the data frames of one part.
type partBody struct {
	x    *exchange
	rest []byte
	err  error
}

func (b *partBody) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.err == io.EOF {
			return 0, io.EOF
		}
		if b.err != nil {
			// The reader is told of an end: what became of the worker is a
			// finding of the report, not an error of the message.
			return 0, io.EOF
		}
		b.fill()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *partBody) fill() {
	k, p, err := b.x.next()
	b.rest = nil
	switch {
	case err == io.EOF:
		b.err = io.ErrUnexpectedEOF
	case err != nil:
		b.err = err
	case k == wire.KindData:
		b.rest = p
	case k == wire.KindEnd:
		b.err = io.EOF
	default:
		b.err = errs.New(errs.Invalid, "a frame %c inside a part", k)
	}
}

// clip makes text from outside short and valid.
func clip(s string) string {
	most := 1 << 10
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most-- // no letter is cut in two
		}
		s = s[:most]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
