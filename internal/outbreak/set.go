package outbreak

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Set is the rules of a feed, ready to judge by. It never changes and is safe
// for concurrent use. The nil Set has no rules.
type Set struct {
	feed    Feed
	rules   []*compiled // the highest level first, then in the order of the feed
	bodies  []string    // each expression once, by index
	headers []string    // names of fields that rules ask for, each once
	hosts   map[string]bool
	files   bool // a rule looks at attachments
	bytes   bool // and at what is in them: hashes, sizes
}

type compiled struct {
	*Rule
	bodies  []int // of Set.bodies
	headers []*regexp.Regexp
	names   []*regexp.Regexp
	hashes  map[mail.Hash]bool
}

// NewSet makes a checked feed ready.
func NewSet(f *Feed, compile Compile) (*Set, error) {
	s := &Set{feed: *f, hosts: map[string]bool{}}
	body, field := map[string]int{}, map[string]bool{}
	regex := func(p string) (*regexp.Regexp, error) {
		re, err := compile(p)
		return re, errs.Wrap(errs.Invalid, err, "outbreak rules")
	}
	for i := range f.Rules {
		c := &compiled{Rule: &f.Rules[i], hashes: map[mail.Hash]bool{}}
		for _, p := range c.Body {
			if _, is := body[p]; !is {
				body[p] = len(s.bodies)
				s.bodies = append(s.bodies, p)
			}
			c.bodies = append(c.bodies, body[p])
		}
		for _, h := range c.Headers {
			re, err := regex(h.Match)
			if err != nil {
				return nil, err
			}
			c.headers = append(c.headers, re)
			if !field[strings.ToLower(h.Name)] {
				field[strings.ToLower(h.Name)] = true
				s.headers = append(s.headers, h.Name)
			}
		}
		for _, h := range c.Hosts {
			s.hosts[h] = true
		}
		if c.File != nil {
			s.files = true
			for _, p := range c.File.Names {
				re, err := regex(p)
				if err != nil {
					return nil, err
				}
				c.names = append(c.names, re)
			}
			for _, h := range c.File.SHA256 {
				hash, _ := mail.ParseHash(h) // checked
				c.hashes[hash] = true
			}
			s.bytes = s.bytes || len(c.hashes) > 0 || c.File.Size != nil
		}
		s.rules = append(s.rules, c)
	}
	slices.SortStableFunc(s.rules, func(a, b *compiled) int { return b.Level - a.Level })
	return s, nil
}

// Feed gives the feed that the rules are of.
func (s *Set) Feed() Feed {
	if s == nil {
		return Feed{}
	}
	return s.feed
}

// Rule gives the rule of that id, or nil.
func (s *Set) Rule(id string) *Rule {
	if s == nil {
		return nil
	}
	for _, r := range s.rules {
		if r.ID == id {
			return r.Rule
		}
	}
	return nil
}

// Empty reports whether no rule can hold anything.
func (s *Set) Empty() bool { return s == nil || len(s.rules) == 0 }

// What has to be found out of a message: expressions to look for in its text,
// header fields, and whether attachments and their bytes matter.
func (s *Set) Bodies() []string  { return s.bodies }
func (s *Set) Headers() []string { return s.headers } // names of fields
func (s *Set) Files() bool       { return s.files }
func (s *Set) Bytes() bool       { return s.bytes }
func (s *Set) Hosts() bool       { return len(s.hosts) > 0 }

// Facts are what a message is made of, as far as the Set asks.
type Facts struct {
	Size    int64
	Headers map[string][]string // values by the names that Headers gave
	Files   []Attachment
	Bodies  []bool // for each of Bodies, whether it is in the text
	Hosts   *Hosts // that are named in the text; nil: none
}

// Attachment is one file of a message.
type Attachment struct {
	Names  []string // each reading
	Types  []string // media types in lower case
	Kinds  []string // by content
	Size   int64
	Hashes []mail.Hash // SHA-256 of each reading
}

// Verdict is what outbreak rules say of a message. The zero value: no rule
// holds it.
type Verdict struct{ *Rule }

// Positive reports whether a rule holds the message.
func (v Verdict) Positive() bool { return v.Rule != nil }

// Threat is the level of threat, 0 to 5.
func (v Verdict) Threat() int {
	if v.Rule == nil {
		return 0
	}
	return v.Level
}

// Judge gives the rule with the highest level that a message meets; of those
// with the same level the first of the feed. Attachments with a bypassed
// extension do not count (reference 7.7): others of the same message do.
func (s *Set) Judge(f Facts, bypass []string, now time.Time) Verdict {
	if s.Empty() {
		return Verdict{}
	}
	if len(bypass) > 0 {
		f.Files = slices.DeleteFunc(slices.Clone(f.Files), func(a Attachment) bool { return a.bypassed(bypass) })
	}
	for _, r := range s.rules {
		if !r.Expired(now) && r.holds(&f) {
			return Verdict{r.Rule}
		}
	}
	return Verdict{}
}

// bypassed reports whether each name of a file has one of the extensions.
func (a Attachment) bypassed(list []string) bool {
	return len(a.Names) > 0 && !slices.ContainsFunc(a.Names, func(n string) bool { return !slices.Contains(list, extension(n)) })
}

func (r *compiled) holds(f *Facts) bool {
	if !r.Size.holds(f.Size) {
		return false
	}
	for i, h := range r.Headers {
		if !slices.ContainsFunc(f.Headers[h.Name], r.headers[i].MatchString) {
			return false
		}
	}
	if len(r.bodies) > 0 && !slices.ContainsFunc(r.bodies, func(i int) bool { return f.Bodies[i] }) {
		return false
	}
	if len(r.Hosts) > 0 && !slices.ContainsFunc(r.Hosts, f.Hosts.named) {
		return false
	}
	return r.File == nil || slices.ContainsFunc(f.Files, r.file)
}

// file reports whether an attachment is one that the rule asks for.
func (r *compiled) file(a Attachment) bool {
	any := func(list []string, is func(string) bool) bool { return len(list) == 0 || slices.ContainsFunc(list, is) }
	w := r.File
	return w.Size.holds(a.Size) &&
		any(w.Types, func(t string) bool { return slices.Contains(a.Types, t) }) &&
		any(w.Kinds, func(k string) bool { return slices.Contains(a.Kinds, k) }) &&
		any(w.Extensions, func(e string) bool {
			return slices.ContainsFunc(a.Names, func(n string) bool { return extension(n) == e })
		}) &&
		(len(r.names) == 0 || slices.ContainsFunc(r.names, func(re *regexp.Regexp) bool { return slices.ContainsFunc(a.Names, re.MatchString) })) &&
		(len(r.hashes) == 0 || slices.ContainsFunc(a.Hashes, func(h mail.Hash) bool { return r.hashes[h] }))
}
