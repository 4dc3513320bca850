package smtp

import (
	"io"
	"strconv"

	"lazaret/internal/errs"
)

// sendChunk is how much of a message one BDAT carries.
const sendChunk = 256 << 10

// errChunkRefused ends the content early: the reply is in the Result.
var errChunkRefused = errs.New(errs.Invalid, "peer refused a chunk")

// chunkWriter sends content by BDAT, RFC 3030: octets as they are, and a reply to
// each chunk. Only a message that is BINARYMIME goes so; DATA, with one reply
// for all of it, is what every peer takes.
type chunkWriter struct {
	c   *Client
	res *Result
	buf []byte
}

// Write is io.Writer.
func (w *chunkWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(w.buf) == sendChunk { // only when more comes, so that the last one is never empty
			if err := w.send(false); err != nil {
				return 0, err
			}
		}
		n := min(len(p), sendChunk-len(w.buf))
		w.buf, p = append(w.buf, p[:n]...), p[n:]
	}
	return total, nil
}

// send sends what is in the buffer and waits for the reply.
func (w *chunkWriter) send(last bool) error {
	c := w.c
	line := strconv.AppendInt([]byte("BDAT "), int64(len(w.buf)), 10)
	if last {
		line = append(line, " LAST"...)
	}
	c.out.Write(append(line, '\r', '\n'))
	c.out.Write(w.buf) // a failure stays in the writer and comes with Flush
	w.buf = w.buf[:0]
	w.res.DotSent = last // from here on the peer may have it
	if err := c.out.Flush(); err != nil {
		return errs.Wrap(errs.Temporary, err, "smtp: sending a chunk")
	}
	r, err := c.reply(c.cfg.Timeouts.DataDone)
	if err != nil {
		return errs.Context(err, "smtp: reply to a chunk")
	}
	if r.Code < 400 && !r.Positive() {
		return errs.New(errs.Invalid, "smtp: peer answers a chunk with %d", r.Code)
	}
	if last || !r.Positive() {
		w.res.Data = r
	}
	if !r.Positive() {
		return errChunkRefused
	}
	return nil
}

// binary sends header lines and content in chunks. After a refusal the peer waits
// for RSET, which the next transaction begins with.
func (c *Client) binary(t *Transaction, res *Result) error {
	w := &chunkWriter{c: c, res: res, buf: make([]byte, 0, sendChunk)}
	_, err := w.Write(t.Prepend)
	if err == nil && t.Content != nil {
		_, err = io.Copy(w, t.Content)
	}
	if err == nil {
		err = w.send(true)
	}
	switch {
	case err == errChunkRefused:
		return nil
	case err != nil:
		return c.aborted(err)
	}
	c.dirty = false
	return nil
}
