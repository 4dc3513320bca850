// Package wire is what a gateway and its unpack worker say to each other over
// the worker's standard input and output.
//
// A frame is one byte of kind, four bytes of length, big endian, and the
// payload: bytes of content, or one JSON object. Each side takes the other for
// hostile: lengths have limits, unknown kinds and fields are errors.
//
// The gateway says for each object Begin, Data..., End. The worker
// says Ready once, and for each object, when it has it whole, any number of
// Note and Part, Data..., End, and then Done.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"

	"lazaret/internal/errs"
)

// Version is that of the protocol; both sides must have the same.
const Version = 1

// Limits of a frame, in bytes.
const (
	MaxData = 64 << 10
	MaxHead = 16 << 10
)

// Kind of a frame.
type Kind byte

// The kinds.
const (
	KindReady Kind = 'R'
	KindBegin Kind = 'B'
	KindData  Kind = 'D'
	KindEnd   Kind = 'E'
	KindPart  Kind = 'P'
	KindNote  Kind = 'N'
	KindDone  Kind = 'F'
)

// Ready says that the worker takes objects, and which walls stand around it.
type Ready struct {
	Version int
	Missing []string // walls that could not be put up, each with its reason
}

// Limits bound the unpacking of one message; what is used up is not given again
// for the next object of the message.
type Limits struct {
	Depth  int   // of containers in each other: 8
	Parts  int   // 10,000
	Bytes  int64 // unpacked in total: 512 MiB
	Ratio  int64 // unpacked bytes for one byte of the object, beyond the first 8 MiB: 200
	Millis int64 // of time for one object: 60,000
}

// Begin announces an object.
type Begin struct {
	Name    string
	Types   []string // media types that its sender claims
	Depth   int
	Limits  Limits
	Content bool // send the bytes of parts
	Text    bool // send extracted text
}

// Part announces a part.
type Part struct {
	Path  string
	Name  string
	Type  string
	Group string
	Depth int
	View  string // "" content, or what was extracted: "text", "macro"
}

// Note is a finding.
type Note struct {
	Kind   string
	Path   string
	Detail string
}

// End ends the data of a part.
type End struct {
	Size int64
}

// Done ends the answer for an object.
type Done struct {
	Parts int
	Bytes int64
}

// Conn reads and writes frames. Not for concurrent use, except that one may
// read while another writes.
type Conn struct {
	r    *bufio.Reader
	w    *bufio.Writer
	head [5]byte
	out  [5]byte
	buf  []byte
}

// New makes a Conn.
func New(r io.Reader, w io.Writer) *Conn {
	return &Conn{r: bufio.NewReaderSize(r, 32<<10), w: bufio.NewWriterSize(w, 32<<10)}
}

// Flush sends what is buffered.
func (c *Conn) Flush() error { return c.w.Flush() }

// Data sends content, in as many frames as it needs.
func (c *Conn) Data(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), MaxData)
		if err := c.write(KindData, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Send sends a frame with a JSON object.
func (c *Conn) Send(k Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > MaxHead {
		return errs.New(errs.Internal, "a frame of %d bytes; %d is the limit", len(b), MaxHead)
	}
	return c.write(k, b)
}

func (c *Conn) write(k Kind, p []byte) error {
	c.out[0] = byte(k)
	binary.BigEndian.PutUint32(c.out[1:], uint32(len(p)))
	if _, err := c.w.Write(c.out[:]); err != nil {
		return err
	}
	_, err := c.w.Write(p)
	return err
}

// Next gives the next frame; its payload is valid until the next call. io.EOF
// is an end between two frames.
func (c *Conn) Next() (Kind, []byte, error) {
	if _, err := io.ReadFull(c.r, c.head[:]); err != nil {
		return 0, nil, err
	}
	k, n := Kind(c.head[0]), binary.BigEndian.Uint32(c.head[1:])
	limit := uint32(MaxHead)
	switch k {
	case KindData:
		limit = MaxData
	case KindReady, KindBegin, KindEnd, KindPart, KindNote, KindDone:
	default:
		return 0, nil, errs.New(errs.Invalid, "a frame of unknown kind %#02x", c.head[0])
	}
	if n > limit {
		return 0, nil, errs.New(errs.Invalid, "a frame %c of %d bytes; %d is the limit", k, n, limit)
	}
	if cap(c.buf) < int(n) {
		c.buf = make([]byte, limit)
	}
	p := c.buf[:n]
	if _, err := io.ReadFull(c.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return k, p, nil
}

// Decode reads the JSON object of a frame, strictly.
func Decode(p []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errs.Wrap(errs.Invalid, err, "a frame that is not as agreed")
	}
	if d.InputOffset() != int64(len(p)) {
		return errs.New(errs.Invalid, "a frame with something behind its object")
	}
	return nil
}

// Take reads the next frame, which must be of the kind.
func (c *Conn) Take(k Kind, v any) error {
	got, p, err := c.Next()
	if err != nil {
		return err
	}
	if got != k {
		return errs.New(errs.Invalid, "a frame %c where %c was due", got, k)
	}
	return Decode(p, v)
}
