package message

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// values gives every reading of the parameter: as written, and as assembled
// under RFC 2231. Each once, the strict one first.
func (p *parsed) values(name string) []string {
	var out []string
	for _, v := range p.extended(name) {
		out = appendOnce(out, v)
	}
	for _, q := range p.params {
		if q.name == name {
			out = appendOnce(out, q.value)
		}
	}
	return out
}

// repeated reports whether the parameter was written more than once.
func (p *parsed) repeated(name string) bool { return p.given[name] > 1 || p.given[name+"*"] > 1 }

// extended gives the readings under RFC 2231: name*=charset'lang'text, and
// name*0, name*1* and so on put together. With gaps or doubles in the numbers
// readers differ: then both the run up to the gap and the whole are given.
func (p *parsed) extended(name string) []string {
	var out []string
	pieces := map[int][]piece{}
	coded := map[int]bool{}
	for _, q := range p.params {
		rest, ok := strings.CutPrefix(q.name, name+"*")
		if !ok {
			continue
		}
		if rest == "" {
			out = appendOnce(out, decodeExtended(q.value))
			out = appendOnce(out, decodeExtended(q.value[:brokenPercent(q.value)]))
			continue
		}
		digits, star := strings.CutSuffix(rest, "*")
		n, ok := pieceNumber(digits)
		if !ok {
			continue
		}
		if have := pieces[n]; q.again && len(have) > 0 {
			have[len(have)-1].last = q.value
		} else {
			pieces[n] = append(have, piece{q.value, q.value})
		}
		coded[n] = coded[n] || star
	}
	if len(pieces) == 0 {
		return out
	}
	order := slices.Sorted(maps.Keys(pieces))
	run := 0
	for run < len(order) && order[run] == run {
		run++
	}
	// The whole first: of every piece all that was written; then as one who
	// takes the first of a number, and one who takes the last.
	for _, o := range [][]int{order[:run], order} {
		for _, which := range []pick{all, allLast, firstOnly, lastOnly, backwards} {
			if len(o) > 0 {
				out = appendOnce(out, assemble(o, pieces, coded, which))
			}
		}
	}
	for i, n := range order { // some readers give up at a piece that they cannot decode
		if v := pieces[n][0].first; coded[n] && brokenPercent(v) < len(v) {
			out = appendOnce(out, assemble(order[:i], pieces, coded, firstOnly))
			break
		}
	}
	return out
}

// brokenPercent gives the place of the first escape that is none, or the length.
func brokenPercent(v string) int {
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && (i+2 >= len(v) || unhex(v[i+1]) < 0 || unhex(v[i+2]) < 0) {
			return i
		}
	}
	return len(v)
}

// lastPiece is the number of all pieces with a larger one.
const lastPiece = 10_000

func pieceNumber(digits string) (n int, ok bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > lastPiece {
		n = lastPiece
	}
	return n, true
}

// pick says which of several pieces of one number count.
type pick uint8

const (
	all       pick = iota
	allLast        // by their last reading
	firstOnly      // the first piece
	lastOnly       // the last piece
	backwards      // all, the last one first
)

func (w pick) of(ps []piece) []piece {
	switch w {
	case firstOnly:
		return ps[:1]
	case lastOnly:
		return ps[len(ps)-1:]
	case backwards:
		ps = slices.Clone(ps)
		slices.Reverse(ps)
	}
	return ps
}

// piece is one written piece of a value, by its first and its last reading.
type piece struct{ first, last string }

// assemble joins pieces in order; the charset stands in the first one.
func assemble(order []int, pieces map[int][]piece, coded map[int]bool, which pick) string {
	charset := ""
	var b []byte
	for i, n := range order {
		for j, p := range which.of(pieces[n]) {
			v := p.first
			if which == allLast {
				v = p.last
			}
			if coded[n] {
				if i == 0 && j == 0 {
					charset, v = cutCharset(v)
				}
				v = unpercent(v)
			}
			b = append(b, v...)
		}
	}
	return cutMiddle(toUTF8(charset, string(b)))
}

func decodeExtended(v string) string {
	charset, text := cutCharset(v)
	return toUTF8(charset, unpercent(text))
}

// cutCharset splits charset'language'text.
func cutCharset(v string) (charset, text string) {
	a := strings.IndexByte(v, '\'')
	if a < 0 {
		return "", v
	}
	b := strings.IndexByte(v[a+1:], '\'')
	if b < 0 {
		return "", v
	}
	return v[:a], v[a+1+b+1:]
}

func unpercent(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := unhex(v[i+1]), unhex(v[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func appendOnce(list []string, v string) []string {
	if v == "" || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
