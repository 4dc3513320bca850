package outbreak

import (
	"bytes"
	"html"
	"strings"

	"lazaret/internal/mail"
)

// Hosts looks for the names of hosts in text: in links and beside them, for
// mail programs make links of bare names. Of what it finds it keeps only what
// rules ask for, so a message cannot fill it. The zero value finds nothing.
type Hosts struct {
	ask   map[string]bool // nil: nothing
	found map[string]bool
	plain words
	html  words
	tail  []byte // of an entity that goes on in the next piece
}

// NewHosts begins a message.
func (s *Set) NewHosts() *Hosts { return &Hosts{ask: s.hosts, found: map[string]bool{}} }

func (h *Hosts) named(pattern string) bool { return h != nil && h.found[pattern] }

// maxHost is more than a name has octets, percent-encoded.
const maxHost = 3*255 + 1

// maxEntity is the longest character reference that is kept over the end of a piece.
const maxEntity = 32

// Add takes the next piece of a text; last ends it. A name is looked for as it
// stands and as a browser reads it in HTML: references resolved, tabs and line
// ends gone.
func (h *Hosts) Add(piece []byte, last bool) {
	if len(h.ask) == 0 {
		return
	}
	h.plain.add(piece, last, h.look)
	b := append(h.tail, piece...)
	h.tail = nil
	if i := bytes.LastIndexByte(b[max(0, len(b)-maxEntity):], '&'); i >= 0 && !last {
		i += max(0, len(b)-maxEntity)
		if bytes.IndexByte(b[i:], ';') < 0 {
			h.tail = bytes.Clone(b[i:])
			b = b[:i]
		}
	}
	if bytes.IndexByte(b, '&') >= 0 {
		b = []byte(html.UnescapeString(string(b)))
	}
	h.html.add(bytes.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, b), last, h.look)
}

// look compares a word with what is asked for: the name, and each domain above it.
func (h *Hosts) look(word []byte) {
	name := strings.Trim(unpercent(word), ".")
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 || r >= 'A' && r <= 'Z' }) {
		d, err := mail.ParseDomain(name)
		if err != nil {
			return
		}
		name = d
	}
	if h.ask[name] {
		h.found[name] = true
	}
	for i := strings.IndexByte(name, '.'); i >= 0; {
		if above := name[i:]; h.ask[above] {
			h.found[above] = true
		}
		next := strings.IndexByte(name[i+1:], '.')
		if next < 0 {
			return
		}
		i += 1 + next
	}
}

// unpercent decodes %XX as browsers do in the name of a host.
func unpercent(word []byte) string {
	if bytes.IndexByte(word, '%') < 0 {
		return string(word)
	}
	out := make([]byte, 0, len(word))
	for i := 0; i < len(word); i++ {
		if word[i] == '%' && i+2 < len(word) {
			if hi, lo := unhex(word[i+1]), unhex(word[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, word[i])
	}
	return string(out)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// words takes runs of characters that names of hosts have, with a dot in them.
type words struct {
	run  []byte
	dot  bool
	long bool // longer than any name
}

func (w *words) add(b []byte, last bool, fn func([]byte)) {
	start := 0 // of the run in b
	for i, c := range b {
		if hostByte[c] {
			w.dot = w.dot || c == '.' || c >= 0x80 || c == '%'
			continue
		}
		w.take(b[start:i])
		w.end(fn)
		start = i + 1
	}
	w.take(b[start:])
	if last {
		w.end(fn)
	}
}

func (w *words) take(b []byte) {
	if w.long = w.long || len(w.run)+len(b) > maxHost; !w.long {
		w.run = append(w.run, b...)
	}
}

func (w *words) end(fn func([]byte)) {
	if w.dot && !w.long && len(w.run) > 0 {
		fn(w.run)
	}
	w.run, w.dot, w.long = w.run[:0], false, false
}

// hostByte are the bytes of names of hosts, also of those that are written in
// UTF-8 or percent-encoded.
var hostByte = func() (is [256]bool) {
	for c := range is {
		b := byte(c)
		is[c] = b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' || b == '.' || b == '-' || b == '_' || b == '%' || b >= 0x80
	}
	return is
}()
