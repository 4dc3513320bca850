package senderauth

import (
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// maxSets is how long a chain may be (RFC 8617 section 4.2.1).
const maxSets = 50

// arcSet is what one host along the way added (section 4.1).
type arcSet struct {
	results, signature, seal string // whole fields
	sig, sealed              map[string]string
}

// arcSets collects the sets of a header, the first instance first. An error is
// one of the structure (section 5.2, step 3).
func arcSets(header []byte) ([]arcSet, error) {
	var sets []arcSet
	for _, field := range split(header) {
		name, value, _ := strings.Cut(field, ":")
		var place func(*arcSet) *string
		switch strings.ToLower(strings.TrimRight(name, " \t")) {
		case "arc-authentication-results":
			place = func(s *arcSet) *string { return &s.results }
		case "arc-message-signature":
			place = func(s *arcSet) *string { return &s.signature }
		case "arc-seal":
			place = func(s *arcSet) *string { return &s.seal }
		default:
			continue
		}
		n := instance(value)
		if n == 0 {
			return nil, errs.New(errs.Invalid, "an ARC field has no instance from 1 to %d", maxSets)
		}
		for len(sets) < n {
			sets = append(sets, arcSet{})
		}
		if at := place(&sets[n-1]); *at != "" {
			return nil, errs.New(errs.Invalid, "ARC set %d has a field twice", n)
		} else {
			*at = field
		}
	}
	for i := range sets {
		if err := sets[i].read(i + 1); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// instance reads the tag i of a field, 0 when it is none.
func instance(value string) int {
	for _, tag := range strings.Split(value, ";") {
		k, v, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(unfold(k)) != "i" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(unfold(v)))
		if err != nil || n < 1 || n > maxSets {
			return 0
		}
		return n
	}
	return 0
}

// read takes the fields of a set apart and checks what must be in them.
func (s *arcSet) read(n int) (err error) {
	if s.results == "" || s.signature == "" || s.seal == "" {
		return errs.New(errs.Invalid, "ARC set %d is not complete", n)
	}
	if s.sig, err = need(s.signature, "a", "b", "bh", "d", "h", "s"); err != nil {
		return errs.Context(err, "the message signature of ARC set %d", n)
	}
	if s.sealed, err = need(s.seal, "a", "b", "cv", "d", "s"); err != nil {
		return errs.Context(err, "the seal of ARC set %d", n)
	}
	_, list := s.sealed["h"]
	want := "pass"
	if n == 1 {
		want = "none"
	}
	switch {
	case list:
		return errs.New(errs.Invalid, "the seal of ARC set %d has a tag h", n) // section 4.1.3
	case s.sealed["cv"] != want:
		return errs.New(errs.Invalid, "ARC set %d says that the chain was broken before", n)
	case slices.ContainsFunc(s.signed(), func(f string) bool { return strings.EqualFold(f, "ARC-Seal") }):
		return errs.New(errs.Invalid, "the message signature of ARC set %d covers a seal", n) // section 4.1.2
	}
	return nil
}

// need reads the tags of a field and wants some of them.
func need(field string, names ...string) (map[string]string, error) {
	_, value, _ := strings.Cut(field, ":")
	tags, err := tagList(value)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if tags[n] == "" {
			return nil, errs.New(errs.Invalid, "the tag %s is missing", n)
		}
	}
	return tags, nil
}

// signed gives the names of the fields that the message signature covers.
func (s *arcSet) signed() []string { return strings.Split(noBlanks(s.sig["h"]), ":") }

// forms gives the canonical forms of the message signature.
func (s *arcSet) forms() (header, body string, err error) {
	header, body, _ = strings.Cut(noBlanks(s.sig["c"]), "/")
	for _, f := range []*string{&header, &body} {
		switch *f {
		case "":
			*f = "simple"
		case "simple", "relaxed":
		default:
			return "", "", errs.New(errs.Invalid, "the canonical form is unknown")
		}
	}
	return header, body, nil
}
