package listener

import (
	"hash"
	"io"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/smtp"
)

// intake is the content of one message on its way to the sink. It watches the
// header go by, ends a mail loop, holds CPQ content against its metadata, and
// writes the lines of an arrived message before the sink sees the end: so they
// stand in the log before anything that happens to the message then.
type intake struct {
	session *session
	from    io.Reader
	header  *message.HeaderScanner
	mid     mail.MID
	sender  mail.Address

	ascii *asciiHeader // where 8-bit headers are refused

	// Only for CPQ.
	peer     string
	metadata cpq.Metadata
	hash     hash.Hash

	size int64
	done bool  // io.EOF was given
	err  error // any other end
}

// errEightBit is a header in UTF-8, or worse, of a message without SMTPUTF8.
var errEightBit = errs.New(errs.Invalid, "header is not ASCII and the message came without SMTPUTF8")

// asciiHeader looks for octets in a header that RFC 5322 section 2.2 does not allow.
type asciiHeader struct {
	inLine, over bool
}

// write reports whether what of p is header is ASCII.
func (a *asciiHeader) write(p []byte) bool {
	for _, c := range p {
		switch {
		case a.over:
			return true
		case c >= 0x80:
			return false
		case c == '\n':
			a.over, a.inLine = !a.inLine, false
		case c != '\r':
			a.inLine = true
		}
	}
	return true
}

// errPasses is a message that we had too often.
var errPasses = errs.New(errs.Invalid, "message loop: it was here more than %d times", maxPasses)

var errLoop = errs.New(errs.Invalid, "message loop: more than %d Received lines", maxReceived-1)

// mismatchError is content that is not the one of its metadata (register D6).
type mismatchError struct{ error }

// Read implements io.Reader.
func (in *intake) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if in.done {
		return 0, io.EOF
	}
	n, err := in.from.Read(p)
	if !in.watch(p[:n]) {
		return 0, in.err
	}
	switch {
	case err == io.EOF:
		in.err = in.finish()
		if in.err != nil {
			return 0, in.err
		}
		return n, io.EOF
	case err != nil:
		in.err = err
	}
	return n, in.err
}

// watch looks at what goes by; false when it ends the transfer.
func (in *intake) watch(p []byte) bool {
	in.size += int64(len(p))
	in.header.Write(p) // never fails
	if in.hash != nil {
		in.hash.Write(p)
	}
	if in.header.ReceivedCount() >= maxReceived { // RFC 5321 section 6.3
		in.err = errLoop
	}
	if in.header.PassCount() > maxPasses {
		in.err = errPasses
	}
	if in.ascii != nil && !in.ascii.write(p) {
		in.err = errEightBit
	}
	return in.err == nil
}

// WriteTo implements io.WriterTo: the content goes from the connection's buffer
// to the sink without a copy in between.
func (in *intake) WriteTo(w io.Writer) (int64, error) {
	from, ok := in.from.(io.WriterTo)
	if !ok || in.err != nil || in.done {
		return io.Copy(w, struct{ io.Reader }{in})
	}
	way := passage{in: in, to: w}
	n, err := from.WriteTo(&way)
	switch {
	case in.err != nil:
		return n, in.err
	case way.err != nil: // the sink's own failure: it knows what to say
		return n, way.err
	case err != nil:
		in.err = err
	default:
		in.err = in.finish()
	}
	return n, in.err
}

// passage is the way from the connection to the sink.
type passage struct {
	in  *intake
	to  io.Writer
	err error
}

func (p *passage) Write(b []byte) (int, error) {
	if !p.in.watch(b) {
		return 0, p.in.err
	}
	var n int
	n, p.err = p.to.Write(b)
	return n, p.err
}

// finish looks at the whole and writes its lines.
func (in *intake) finish() error {
	if in.hash != nil {
		var got mail.Hash
		in.hash.Sum(got[:0])
		if err := in.metadata.CheckContent(in.size, got); err != nil {
			return mismatchError{err}
		}
	}
	in.done = true
	log := in.session.log
	if id := in.header.MessageID(); id != "" {
		log.MessageID(in.mid, id)
	}
	log.Subject(in.mid, in.header.Subject())
	log.Ready(in.mid, in.size, in.sender)
	return nil
}

// reply is what the peer is told about content that did not arrive well. What
// smtp itself refused it answers itself.
func (in *intake) reply() smtp.Reply {
	if in.err == errLoop {
		return smtp.NewReply(554, "5.4.6", "message loop: too many Received lines")
	}
	if in.err == errPasses {
		return smtp.NewReply(554, "5.4.6", errs.Public(in.err))
	}
	if in.err == errEightBit {
		return smtp.NewReply(550, "5.6.9", errs.Public(in.err)) // RFC 6531 section 3.6
	}
	if m, ok := in.err.(mismatchError); ok {
		return smtp.NewReply(554, "5.6.0", errs.Public(m.error))
	}
	return smtp.NewReply(451, "4.3.0", "message was not received")
}
