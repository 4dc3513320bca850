package scan

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
)

const (
	chunkSize = 64 << 10 // of one piece of a stream
	maxReply  = 4 << 10  // bytes of an answer with its NUL
)

// session is one connection to clamd that takes one command after the other
// (IDSESSION, clamd(8)). It has one user at a time.
type session struct {
	conn    net.Conn
	out     *bufio.Writer
	replies chan reply
	id      int       // of the last command
	used    time.Time // when it was given back
	piece   []byte
}

// reply is one answer without its NUL, or why none comes any more.
type reply struct {
	text string
	err  error
}

func newSession(conn net.Conn) *session {
	s := &session{conn: conn, out: bufio.NewWriterSize(conn, chunkSize+64), replies: make(chan reply, 1), piece: make([]byte, chunkSize)}
	go s.listen()
	_, _ = s.out.WriteString("zIDSESSION\x00") // goes out with the first command
	return s
}

// listen reads answers while messages are being sent: clamd says that a message
// is too long in the middle of it, and closes.
func (s *session) listen() {
	defer close(s.replies)
	in := bufio.NewReaderSize(s.conn, maxReply)
	for {
		text, err := in.ReadSlice(0)
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = errors.New("its answer is too long")
			} else if len(text) > 0 {
				err = errors.New("its answer was cut")
			}
			s.replies <- reply{err: err}
			return
		}
		s.replies <- reply{text: string(text[:len(text)-1])}
	}
}

// errContent is an error of reading what is to be scanned: not the engine's.
type errContent struct{ error }

// scan sends a stream and gives the answer to it.
func (s *session) scan(r io.Reader) (string, error) {
	s.id++
	if _, err := s.out.WriteString("zINSTREAM\x00"); err != nil {
		return s.lost(err)
	}
	for {
		n, err := io.ReadFull(r, s.piece)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return "", errContent{err}
		}
		if n > 0 {
			if err := s.send(s.piece[:n]); err != nil {
				return s.lost(err)
			}
		}
		if err != nil {
			break
		}
		select {
		case a := <-s.replies: // before the end: a refusal
			return s.mine(a)
		default:
		}
	}
	if err := errors.Join(s.send(nil), s.out.Flush()); err != nil {
		return s.lost(err)
	}
	return s.mine(<-s.replies)
}

// send writes a piece with its length; an empty one ends the stream.
func (s *session) send(b []byte) error {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(b)))
	if _, err := s.out.Write(n[:]); err != nil {
		return err
	}
	_, err := s.out.Write(b)
	return err
}

// lost waits for what clamd may have said before it closed.
func (s *session) lost(err error) (string, error) {
	if a, ok := <-s.replies; ok && a.err == nil {
		return s.mine(a)
	}
	return "", err
}

// mine takes the number off an answer and checks that it is of this command.
func (s *session) mine(a reply) (string, error) {
	if a.err != nil {
		return "", a.err
	}
	id, text, ok := strings.Cut(a.text, ": ")
	if !ok || id != strconv.Itoa(s.id) {
		return "", errs.New(errs.Invalid, "it answered out of turn: %s", printable(a.text))
	}
	return text, nil
}

// close ends a session politely when it is whole.
func (s *session) close() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = s.out.WriteString("zEND\x00")
	_ = s.out.Flush()
	s.abort()
}

// abort ends a session whatever state it is in.
func (s *session) abort() {
	_ = s.conn.Close()
	for range s.replies { // until listen has ended
	}
}

// ask gives the answer to a simple command on a connection of its own.
func ask(ctx context.Context, dial func(context.Context) (net.Conn, error), command string) (string, error) {
	conn, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	if _, err := io.WriteString(conn, "z"+command+"\x00"); err != nil {
		return "", err
	}
	text, err := bufio.NewReaderSize(conn, maxReply).ReadSlice(0)
	if err != nil {
		return "", err
	}
	return printable(string(text[:len(text)-1])), nil
}
