package filter

import (
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// matches reports whether a rule matches one of the values, and notes what in
// the first.
func (r *run) matches(u *rule, values []string, part string) bool {
	for _, v := range values {
		if at := u.re.FindStringIndex(v); at != nil {
			r.note(u, part, v[at[0]:at[1]])
			return true
		}
	}
	return false
}

// inDictionary reports whether the terms of a dictionary reach their threshold
// in one of the values. The readings of one field are values of their own.
func (r *run) inDictionary(u *rule, values []string, part string) bool {
	for _, v := range values {
		if n, found := u.dict.In(v); n >= u.dict.Least {
			for _, text := range found {
				r.found(u, part, text)
			}
			return true
		}
	}
	return false
}

// found notes what a rule about content matched, for the variable too.
func (r *run) found(u *rule, part, text string) {
	if !slices.Contains(r.matched, text) {
		r.matched = append(r.matched, text)
	}
	r.note(u, part, text)
}

// note keeps what a rule matched, for the quarantine to show.
func (r *run) note(u *rule, part, text string) {
	if len(r.notes) >= mail.MaxMatched || text == "" {
		return
	}
	if u.shown == "" {
		panic("filter: a rule without its text")
	}
	r.notes = append(r.notes, mail.Matched{Rule: clipped(r.filter + ": " + u.shown), Part: clipped(part), Text: clipped(text)})
}

// clipped makes one line of text from outside, not longer than is kept.
func clipped(s string) string {
	s = harmless(s[:min(len(s), mail.MaxMatchedText)])
	if len(s) > mail.MaxMatchedText {
		s = strings.ToValidUTF8(s[:mail.MaxMatchedText], "")
	}
	return s
}
