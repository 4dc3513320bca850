package smtp

import (
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// BDAT, RFC 3030. The content of a message comes in chunks, each announced by a
// command of its own, and each answered. The Session is given one reader for all
// of them: where a chunk ends the reader answers it and reads the command line of
// the next, so that there is no goroutine and no second buffer.

var (
	errAborted  = errs.New(errs.Invalid, "message was given up between two chunks")
	replyChunk  = NewReply(501, "5.5.4", "syntax is BDAT octets [LAST]; closing the connection")
	replyFlood  = NewReply(552, "5.3.4", "chunk is too big; closing the connection")
	replyNoData = NewReply(503, "5.5.1", "BODY=BINARYMIME goes with BDAT, not with DATA") // RFC 3030 section 3
)

// parseChunk reads the arguments of BDAT: chunk-size ["LAST"].
func parseChunk(args string) (n int64, last, ok bool) {
	size, word, more := strings.Cut(args, " ")
	u, err := strconv.ParseUint(size, 10, 63)
	if err != nil || size[0] == '+' || len(size) > 20 {
		return 0, false, false
	}
	return int64(u), more, !more || strings.EqualFold(word, "LAST")
}

// maxDrain is how much content of a refused message is read over before the
// connection ends.
func (c *conn) maxDrain() int64 {
	if c.server.cfg.MaxSize > 0 {
		return max(4*c.server.cfg.MaxSize, 64<<20)
	}
	return math.MaxInt64
}

// bdat is a chunk that starts a message, or one that nobody wants.
//
// Once the number of octets is known they are read over whatever the answer is
// (RFC 3030 section 2); where it is not, or there would be no end of it, what
// follows cannot be told from commands, and the connection ends.
func (c *conn) bdat(args string) Reply {
	n, last, ok := parseChunk(args)
	if !ok {
		c.obs.BadSyntax("BDAT " + args)
		c.end(EndRefused)
		return replyChunk
	}
	if n > c.maxDrain() {
		c.end(EndRefused)
		return replyFlood
	}
	c.in.grow()
	c.pace(true)
	defer c.pace(false)
	k := &chunkReader{c: c, left: n, last: last}
	switch {
	case c.phase == inChunks: // of a message that was refused
		r := c.tx.refused
		if err := k.drain(); err != nil {
			return c.fail(err)
		}
		if last {
			c.move(evDone)
		}
		return r
	case c.phase != inRcpt:
		if err := k.drain(); err != nil {
			return c.fail(err)
		}
		return c.outOfOrder(c.server.commands["BDAT"])
	}
	return c.chunks(k)
}

// chunks takes a message from its first chunk on.
func (c *conn) chunks(k *chunkReader) Reply {
	if s, ok := c.sess.(DataStarter); ok {
		if r := s.DataStart(c.ctx); !r.IsZero() {
			c.sess.Reset(c.ctx)
			return c.refuseChunks(k, withStatus(r))
		}
	}
	binary := c.tx.binary
	c.move(evChunk)
	k.admit(k.left)
	var content io.Reader = k
	if !binary {
		content = &lineReader{from: k, newlines: c.server.cfg.BareNewlines, maxLine: c.server.cfg.MaxLine}
	}
	watch := &endReader{r: content}
	r := withStatus(c.sess.Data(c.ctx, watch))
	var refused *RefusedError
	switch {
	case errors.Is(k.err, errAborted):
		c.move(evReset)
		return Reply{} // the loop goes on with the command that ended it
	case k.err != nil && !errors.As(k.err, &refused):
		return c.fail(k.err)
	case errors.As(watch.err, &refused):
		r = refused.Reply
	case r.Positive() && watch.err != io.EOF:
		r = NewReply(451, "4.3.0", "message was not taken to its end")
	}
	if watch.err != io.EOF {
		return c.refuseChunks(k, r)
	}
	c.move(evDone)
	if r.Positive() {
		c.errors, c.junk = 0, 0
	}
	return r
}

// refuseChunks reads over the present chunk. Those that are pipelined behind it
// get the same answer, up to the last one or RSET.
func (c *conn) refuseChunks(k *chunkReader, r Reply) Reply {
	if err := k.drain(); err != nil {
		return c.fail(err)
	}
	if c.phase == inRcpt {
		c.move(evChunk)
	}
	if k.last {
		c.move(evDone)
	} else {
		c.tx.refused = r
	}
	return r
}

// chunkReader gives the octets of all chunks of one message; io.EOF at the end
// of the last one and nowhere else.
type chunkReader struct {
	c    *conn
	left int64 // octets of the present chunk that are still to come
	last bool
	size int64 // of all chunks so far, as announced
	err  error // *RefusedError, errAborted, or of the connection
}

// admit counts a chunk in, or refuses it before it is read: RFC 1870 section 6.3.
func (k *chunkReader) admit(n int64) {
	limit := k.c.server.cfg.MaxSize
	if limit > 0 && n > limit-k.size {
		k.err = &RefusedError{Reply: replyTooBig}
	}
	k.size += min(n, math.MaxInt64-k.size)
}

// Read is io.Reader.
func (k *chunkReader) Read(p []byte) (int, error) {
	for k.err == nil && k.left == 0 {
		if k.last {
			return 0, io.EOF
		}
		k.err = k.next()
	}
	if k.err != nil {
		return 0, k.err
	}
	b, err := k.some()
	if err != nil {
		k.err = err
		return 0, err
	}
	n := copy(p, b)
	k.take(n)
	return n, nil
}

// some gives what has come of the present chunk, at least one octet.
func (k *chunkReader) some() ([]byte, error) {
	in := &k.c.in
	if len(in.buffered()) == 0 {
		in.room()
		if err := in.fill(in); err != nil {
			return nil, cutOff(err)
		}
	}
	b := in.buffered()
	return b[:min(int64(len(b)), k.left)], nil
}

func (k *chunkReader) take(n int) {
	k.c.in.r += n
	k.left -= int64(n)
}

// drain reads over the rest of the present chunk.
func (k *chunkReader) drain() error {
	for k.left > 0 {
		b, err := k.some()
		if err != nil {
			return err
		}
		k.take(len(b))
	}
	return nil
}

// next answers the chunk that is complete and reads lines until one announces
// another. NOOP and what is out of place here are answered on the way; what ends
// the transaction is left to the loop.
func (k *chunkReader) next() error {
	c := k.c
	c.send(NewReply(250, "2.0.0", strconv.FormatInt(k.size, 10)+" octets received")) // RFC 3030 section 2
	for {
		line, err := c.in.line(c.server.cfg.BareLFCommands)
		if errors.Is(err, errLineTooLong) {
			c.obs.BadSyntax("")
			c.answer(c.mangled(nil, replyTooLong))
			if c.ended {
				return io.ErrUnexpectedEOF
			}
			continue
		}
		if err != nil {
			return cutOff(err)
		}
		var buf [maxVerb]byte
		verb, args := parseCommand(line, &buf)
		switch string(verb) {
		case "BDAT":
			n, last, ok := parseChunk(args)
			if !ok || n > c.maxDrain() || !printable(line) {
				return k.abort(line)
			}
			k.left, k.last = n, last
			if n == 0 && !last && k.wasted() {
				return io.ErrUnexpectedEOF
			}
			k.admit(n)
			return k.err
		case "RSET", "EHLO", "HELO", "QUIT":
			return k.abort(line)
		}
		c.answer(c.dispatch(line))
		if c.ended {
			return io.ErrUnexpectedEOF
		}
	}
}

// wasted counts a chunk of nothing as junk (register B10).
func (k *chunkReader) wasted() bool {
	c := k.c
	if c.junk++; c.junk <= c.server.cfg.ErrorLimits.Junk {
		return false
	}
	c.end(EndErrors)
	c.send(replyErrors)
	return true
}

// abort leaves a line to the loop, which takes it once the Session has let go.
func (k *chunkReader) abort(line []byte) error {
	k.c.again = append([]byte{}, line...)
	return errAborted
}

// endReader remembers how reading ended.
type endReader struct {
	r   io.Reader
	err error
}

// Read is io.Reader.
func (e *endReader) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.r.Read(p)
	e.err = err
	return n, err
}
