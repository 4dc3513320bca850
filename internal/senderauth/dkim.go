package senderauth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"lazaret/internal/errs"
	"lazaret/internal/message"
)

// Limits of register C6.
const (
	maxSignatures = 10
	maxKeyBits    = 8192
	maxKeyRecord  = 4096 // bytes of a TXT record

	// maxBlank bounds a run of blanks and line ends, in bytes. The library copies a
	// run again for each piece of it that it reads: 8 MiB cost it a minute.
	maxBlank = 64 << 10
)

// DKIM checks the signatures of a message, the first ten. An error is one of
// reading it. A message with more than one From field has no valid signature:
// a field put on top is not covered, and it is the one that people see.
func (v *Verifier) DKIM(ctx context.Context, content io.Reader) (out []Signature, err error) {
	src := &source{ctx: ctx, r: content, maxBlank: maxBlank}
	buffered := bufio.NewReader(src)
	header, err := readHeader(buffered)
	if src.err != nil {
		return nil, errs.Context(src.err, "reading the message")
	}
	if err != nil || header == nil {
		return nil, err
	}
	if count(header, "DKIM-Signature") == 0 {
		return nil, nil
	}
	if count(header, "From") != 1 {
		return []Signature{{Verdict: PermError, Reason: "the message has not exactly one From field"}}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = []Signature{{Verdict: PermError, Reason: fmt.Sprintf("the signatures cannot be checked: %v", p)}}, nil
		}
	}()
	found, err := dkim.VerifyWithOptions(io.MultiReader(bytes.NewReader(header), buffered), &dkim.VerifyOptions{
		MaxVerifications: maxSignatures, LookupTXT: func(name string) ([]string, error) { return v.key(ctx, name) },
	})
	if src.err != nil {
		return nil, errs.Context(src.err, "reading the message")
	}
	if src.flood {
		return []Signature{{Verdict: PermError, Reason: fmt.Sprintf("the message has more than %d blanks in a row", maxBlank)}}, nil
	}
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) { // that one comes with results
		return []Signature{{Verdict: PermError, Reason: err.Error()}}, nil
	}
	for _, f := range found {
		s := Signature{Verdict: Pass, Domain: strings.ToLower(f.Domain)}
		switch {
		case f.Err == nil:
		case dkim.IsTempFail(f.Err):
			s.Verdict = TempError
		case dkim.IsPermFail(f.Err):
			s.Verdict = PermError
		default:
			s.Verdict = Fail
		}
		if f.Err != nil {
			s.Reason = f.Err.Error()
		}
		out = append(out, s)
	}
	return out, nil
}

// key fetches a key record and refuses one that costs too much.
func (v *Verifier) key(ctx context.Context, name string) ([]string, error) {
	txt, err := v.resolver.LookupTXT(ctx, strings.TrimSuffix(name, "."))
	if err != nil {
		return nil, dnsError(err, name)
	}
	for _, t := range txt {
		if len(t) > maxKeyRecord || keyBits(t) > maxKeyBits {
			return nil, errs.New(errs.Invalid, "the key has more than %d bits", maxKeyBits)
		}
	}
	return txt, nil
}

// keyBits gives the length of an RSA key in a record, or 0. It reads on where
// tagList would give up: so may the library that is guarded by it.
func keyBits(record string) int {
	for _, tag := range strings.Split(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) != "p" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
		if err != nil {
			return 0
		}
		if k := rsaKey(b); k != nil {
			return k.N.BitLen()
		}
		return 0
	}
	return 0
}

// readHeader reads the header block and its blank line. Nil: it has no end
// within the limits.
func readHeader(b *bufio.Reader) ([]byte, error) {
	var out []byte
	for lines := 0; len(out) <= message.MaxHeaderBlock && lines <= message.MaxHeaderLines; {
		part, err := b.ReadSlice('\n')
		out = append(out, part...)
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, err
		}
		lines++
		if bytes.HasSuffix(out, []byte("\r\n\r\n")) || bytes.Equal(out, []byte("\r\n")) {
			return out, nil
		}
	}
	return nil, nil
}

// source ends when the context does or reading fails, and remembers why: the
// library leaves goroutines behind when its reader gives an error.
type source struct {
	ctx context.Context
	r   io.Reader
	err error

	maxBlank int  // how many blanks may follow each other, 0: any number
	run      int  // so many have
	flood    bool // there were more; the message ends there
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.err == nil && s.ctx.Err() != nil {
		s.err = errs.Wrap(errs.Temporary, s.ctx.Err(), "checking signatures")
	}
	if s.err != nil || s.flood {
		return 0, io.EOF
	}
	n, err := s.r.Read(p)
	s.count(p[:n])
	if err != nil && err != io.EOF {
		s.err, err = err, io.EOF
	}
	return n, err
}

// count looks for a run of blanks that is too long.
func (s *source) count(b []byte) {
	if s.maxBlank == 0 {
		return
	}
	for len(b) > 0 && !s.flood {
		rest := bytes.TrimLeft(b, " \t\r\n")
		if s.run += len(b) - len(rest); len(rest) == 0 {
			break
		}
		s.flood = s.run > s.maxBlank
		s.run = 0
		next := bytes.IndexAny(rest, " \t\r\n")
		if next < 0 {
			return
		}
		b = rest[next:]
	}
	s.flood = s.flood || s.run > s.maxBlank
}

// count gives the number of fields of a name.
func count(header []byte, name string) (n int) {
	for _, line := range bytes.Split(header, []byte("\n")) {
		field, _, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimRight(field, " \t")), name) {
			n++
		}
	}
	return n
}
