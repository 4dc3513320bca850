package message

import (
	"strings"
)

const (
	maxParams = 200
	maxValue  = 1024 // bytes kept of one parameter value
)

// param is one reading of one parameter: a value that can be read in several
// ways gives several params of the same name, the strict reading first.
type param struct {
	name, value string
	again       bool // another reading of the one before
}

// parsed is a structured field body such as that of Content-Type: a main word
// and parameters, RFC 2045 section 5.1, read as leniently as any reader would.
type parsed struct {
	main      string
	params    []param
	given     map[string]int // how often a name was written
	malformed bool
	limit     bool
}

// parseValue reads a field body. Its time is linear: every search that fails
// is not repeated, every other one moves on.
func parseValue(v string) parsed {
	s := &paramScanner{v: v, out: parsed{given: map[string]int{}}}
	s.mainWord()
	for s.pos < len(s.v) {
		if len(s.out.params) >= maxParams {
			s.out.limit = true
			break
		}
		s.param()
	}
	return s.out
}

type paramScanner struct {
	v         string
	pos       int
	segEnd    int  // end of the segment at pos: the next semicolon
	noQuote   bool // there is no closing quote behind pos
	noComment bool
	again     bool // a reading of the parameter under way was added
	out       parsed
}

// mainWord takes the first word. What follows it without a semicolon is read
// as parameters (missing semicolon).
func (s *paramScanner) mainWord() {
	s.blanks()
	start := s.pos
	for s.pos < len(s.v) && !isBlank(s.v[s.pos]) && s.v[s.pos] != ';' && s.v[s.pos] != '(' {
		s.pos++
	}
	s.out.main = strings.ToLower(clip(s.v[start:s.pos]))
	if i := strings.IndexByte(s.out.main, '='); i > 0 && !strings.ContainsAny(s.out.main, `/"?`) {
		s.out.malformed = true // a parameter in the place of the word
		s.pos = start
		return
	}
	s.blanks()
	if s.pos < len(s.v) && s.v[s.pos] != ';' {
		s.out.malformed = true
	}
}

// blanks skips white space and comments, RFC 5322 section 3.2.2.
func (s *paramScanner) blanks() {
	for s.pos < len(s.v) {
		switch c := s.v[s.pos]; {
		case isBlank(c):
			s.pos++
		case c == '(' && !s.noComment:
			end := commentEnd(s.v, s.pos)
			if end < 0 {
				s.noComment = true
				return
			}
			s.pos = end
		default:
			return
		}
	}
}

// segment gives the end of the text up to the next semicolon.
func (s *paramScanner) segment() int {
	if s.segEnd <= s.pos {
		if i := strings.IndexByte(s.v[s.pos:], ';'); i >= 0 {
			s.segEnd = s.pos + i
		} else {
			s.segEnd = len(s.v)
		}
	}
	return s.segEnd
}

// param reads one parameter and moves behind it.
func (s *paramScanner) param() {
	s.blanks()
	if s.pos >= len(s.v) {
		return
	}
	if s.v[s.pos] == ';' {
		s.pos++
		return
	}
	start := s.pos
	for s.pos < len(s.v) && s.v[s.pos] != '=' && s.v[s.pos] != ';' && s.v[s.pos] != '(' && !isBlank(s.v[s.pos]) {
		s.pos++
	}
	name := strings.ToLower(clip(s.v[start:s.pos]))
	s.blanks()
	if s.pos >= len(s.v) || s.v[s.pos] != '=' {
		s.out.malformed = true // a word without a value
		if s.pos == start {
			s.pos++ // an opening bracket that nothing closes
		}
		return
	}
	s.pos++
	s.out.given[name]++
	s.again = false
	for s.pos < len(s.v) && isBlank(s.v[s.pos]) {
		s.pos++
	}
	if s.pos < len(s.v) && s.v[s.pos] == '"' && !s.noQuote {
		if end := quoteEnd(s.v, s.pos); end >= 0 {
			s.quoted(name, end)
			return
		}
		s.noQuote = true
	}
	s.bare(name)
}

// quoted reads "value"; end is the place of the closing quote.
func (s *paramScanner) quoted(name string, end int) {
	raw := s.cut(name, s.v[s.pos+1:end])
	value := unescape(raw)
	s.add(name, value)
	if value != raw {
		s.add(name, raw) // a path of Windows, read literally
	}
	s.pos = end + 1
	s.blanks()
	if s.pos >= len(s.v) || s.v[s.pos] == ';' {
		return
	}
	// Something follows without a semicolon: a parameter, or more of the value.
	s.out.malformed = true
	rest := s.v[s.pos:s.segment()]
	s.add(name, s.cut(name, value+strings.TrimSpace(s.cut(name, rest))))
	s.add(name, s.cut(name, `"`+raw+`"`+strings.TrimSpace(s.cut(name, rest)))) // the quotes read as letters
	if strings.IndexByte(rest, '=') >= 0 {
		return
	}
	s.pos = s.segment()
}

// bare reads a value without quotes, or one whose quote never closes.
func (s *paramScanner) bare(name string) {
	rest := s.v[s.pos:s.segment()]
	if strings.HasPrefix(rest, `"`) {
		s.out.malformed = true
		defer s.add(name, strings.TrimSpace(s.cut(name, rest))) // the quote read as a letter
		rest = rest[1:]
	}
	whole := strings.TrimSpace(s.cut(name, rest))
	word := whole
	if i := strings.IndexAny(whole, " \t"); i >= 0 {
		word = whole[:i]
	}
	s.add(name, word)
	if word != whole {
		s.add(name, whole)
	}
	if strings.IndexByte(whole, '(') >= 0 {
		s.add(name, strings.TrimSpace(withoutComments(whole)))
	}
	if i := strings.IndexByte(rest, '"'); i > 0 && !s.noQuote {
		s.halfQuoted(name, i)
	}
	if len(word) > 1 && word[0] == '\'' && strings.HasSuffix(whole, "'") {
		s.add(name, strings.Trim(whole, "'"))
	}
	// A parameter may follow without a semicolon.
	next := s.segEnd
	if i := strings.IndexAny(s.v[s.pos:s.segEnd], " \t"); i >= 0 && strings.IndexByte(s.v[s.pos+i:s.segEnd], '=') >= 0 {
		next, s.out.malformed = s.pos+i, true
	}
	s.pos = next
}

// halfQuoted adds the value as one reads it who lets a quote begin in its middle:
// a semicolon behind it is part of the value. i is the place of the quote.
func (s *paramScanner) halfQuoted(name string, i int) {
	end := quoteEnd(s.v, s.pos+i)
	if end < 0 {
		s.noQuote = true
		return
	}
	tail, _, _ := strings.Cut(s.v[end:min(len(s.v), end+maxValue)], ";")
	s.add(name, strings.TrimSpace(s.cut(name, s.v[s.pos:end]+tail)))
}

func (s *paramScanner) add(name, value string) {
	if value != "" && len(s.out.params) < maxParams {
		s.out.params = append(s.out.params, param{name, value, s.again})
		s.again = true
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func clip(s string) string { return s[:min(len(s), maxValue)] }

// cut makes a value short enough. Of a name the end counts as much as the
// beginning: there stands what kind of file it is.
func (s *paramScanner) cut(name, value string) string {
	if len(value) <= maxValue {
		return value
	}
	s.out.malformed = true
	if name == "boundary" {
		return clip(value)
	}
	return cutMiddle(value)
}

// cutMiddle takes the middle out of what is too long.
func cutMiddle(v string) string {
	if len(v) <= maxValue {
		return v
	}
	head, tail := v[:maxValue/2], v[len(v)-maxValue/2:]
	if isUTF8(v) { // and no letter is cut in two
		head, tail = strings.ToValidUTF8(head, ""), strings.ToValidUTF8(tail, "")
	}
	return head + tail
}

// quoteEnd gives the place of the quote that closes the one at i, or -1.
func quoteEnd(v string, i int) int {
	for i++; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// commentEnd gives the place behind the comment that opens at i, or -1.
func commentEnd(v string, i int) int {
	depth := 0
	for ; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// withoutComments removes what stands in brackets.
func withoutComments(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); {
		if v[i] == '(' {
			end := commentEnd(v, i)
			if end < 0 {
				b.WriteString(v[i:])
				break
			}
			i = end
			continue
		}
		b.WriteByte(v[i])
		i++
	}
	return b.String()
}

// unescape removes quoting backslashes, RFC 5322 section 3.2.4.
func unescape(v string) string {
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b = append(b, v[i])
	}
	return string(b)
}
