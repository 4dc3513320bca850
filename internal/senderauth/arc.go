package senderauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"strings"

	"lazaret/internal/errs"
)

// ARC is the result for the chain of those who passed a message on (RFC 8617).
type ARC struct {
	Verdict Verdict  // none, pass, fail; temperror when DNS did not answer
	Sealers []string // domains of the seals, the first one first; they are proven when Verdict is Pass
	Oldest  int      // the first instance since which the message is unchanged, 0: all (section 5.2, step 5)
	Reason  string   // in words
}

// ARC checks the chain of a message. An error is one of reading it. Costs are
// bounded: 50 sets, and questions for ten keys (register C6).
func (v *Verifier) ARC(ctx context.Context, content io.Reader) (ARC, error) {
	src := &source{ctx: ctx, r: content}
	buffered := bufio.NewReader(src)
	header, err := readHeader(buffered)
	if err == nil && src.err == nil && header != nil {
		var out ARC
		out, err = v.chain(ctx, header, buffered)
		if src.err == nil && err == nil {
			return out, nil
		}
	}
	if src.err != nil {
		err = src.err
	}
	return ARC{Verdict: None}, errs.Context(err, "reading the message")
}

func (v *Verifier) chain(ctx context.Context, header []byte, body io.Reader) (ARC, error) {
	sets, err := arcSets(header)
	if err != nil {
		return ARC{Verdict: Fail, Reason: err.Error()}, nil
	}
	if len(sets) == 0 {
		return ARC{Verdict: None}, nil
	}
	out := ARC{Verdict: Pass}
	for _, s := range sets {
		out.Sealers = append(out.Sealers, strings.ToLower(noBlanks(s.sealed["d"])))
	}
	c := &chain{v: v, ctx: ctx, sets: sets, header: split(header), keys: make(map[string]*publicKey)}
	if c.bodies, err = hashBody(body); err != nil {
		return ARC{}, err
	}
	if err := c.check(&out); err != nil {
		if out.Verdict = Fail; errs.Is(err, errs.Temporary) {
			out.Verdict = TempError
		}
		out.Reason = err.Error()
	}
	return out, nil
}

// hashBody gives the hashes of a body in its canonical forms.
func hashBody(body io.Reader) (map[string][]byte, error) {
	simple, rel := sha256.New(), sha256.New()
	forms := []*bodyForm{{w: simple}, {w: rel, relaxed: true}}
	if _, err := io.Copy(io.MultiWriter(forms[0], forms[1]), body); err != nil {
		return nil, err
	}
	for _, f := range forms {
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return map[string][]byte{"simple": simple.Sum(nil), "relaxed": rel.Sum(nil)}, nil
}

// chain is the check of one message.
type chain struct {
	v      *Verifier
	ctx    context.Context
	sets   []arcSet
	header []string
	bodies map[string][]byte
	keys   map[string]*publicKey
}

// check goes through section 5.2 from step 4.
func (c *chain) check(out *ARC) error {
	last := len(c.sets) - 1
	if err := c.message(last); err != nil {
		return errs.Context(err, "the message signature of ARC set %d", last+1)
	}
	for i := last; i >= 0; i-- {
		if err := c.seal(i); err != nil {
			return errs.Context(err, "the seal of ARC set %d", i+1)
		}
	}
	for i := last - 1; i >= 0; i-- {
		if c.message(i) != nil {
			out.Oldest = i + 2
			break
		}
	}
	return nil
}

// message checks the message signature of a set.
func (c *chain) message(i int) error {
	s := &c.sets[i]
	headerForm, bodyForm, err := s.forms()
	if err != nil {
		return err
	}
	if _, partial := s.sig["l"]; partial { // what is appended would be covered by nothing
		return errs.New(errs.Invalid, "it covers a part of the body only")
	}
	if bh, err := decode64(s.sig["bh"]); err != nil || !bytes.Equal(bh, c.bodies[bodyForm]) {
		return errs.New(errs.Invalid, "the body was changed")
	}
	form := relaxed
	if headerForm == "simple" {
		form = func(f string) string { return f }
	}
	var text strings.Builder
	used := make(map[string]int)
	for _, name := range s.signed() {
		if f := c.pick(name, used); f != "" {
			text.WriteString(form(f))
		}
	}
	text.WriteString(strings.TrimRight(form(unsigned(s.signature)+"\r\n"), "\r\n"))
	return c.verify(s.sig, text.String())
}

// pick gives the next field of a name from below (RFC 6376 section 5.4.2).
func (c *chain) pick(name string, used map[string]int) string {
	name = strings.ToLower(name)
	skip := used[name]
	used[name]++
	for i := len(c.header) - 1; i >= 0; i-- {
		if field, _, ok := strings.Cut(c.header[i], ":"); ok && strings.EqualFold(strings.TrimRight(field, " \t"), name) {
			if skip--; skip < 0 {
				return c.header[i]
			}
		}
	}
	return ""
}

// seal checks the seal of a set, which covers all sets up to it (section
// 5.1.1).
func (c *chain) seal(i int) error {
	var text strings.Builder
	for n := 0; n <= i; n++ {
		s := &c.sets[n]
		text.WriteString(relaxed(s.results) + relaxed(s.signature))
		if n < i {
			text.WriteString(relaxed(s.seal))
		}
	}
	text.WriteString(strings.TrimRight(relaxed(unsigned(c.sets[i].seal)), "\r\n"))
	return c.verify(c.sets[i].sealed, text.String())
}

// verify checks the signature in tags over a text.
func (c *chain) verify(tags map[string]string, text string) error {
	sig, err := decode64(tags["b"])
	if err != nil {
		return errs.New(errs.Invalid, "it cannot be read")
	}
	selector, domain, algorithm := noBlanks(tags["s"]), noBlanks(tags["d"]), noBlanks(tags["a"])
	id := strings.ToLower(selector+" "+domain) + " " + algorithm
	key, known := c.keys[id]
	if !known {
		if len(c.keys) >= maxSignatures {
			return errs.New(errs.Invalid, "the chain needs more than %d keys", maxSignatures)
		}
		if key, err = c.v.fetchKey(c.ctx, selector, domain, algorithm); err != nil {
			return err
		}
		c.keys[id] = key
	}
	if !key.checks(sum(text), sig) {
		return errs.New(errs.Invalid, "it does not verify")
	}
	return nil
}
