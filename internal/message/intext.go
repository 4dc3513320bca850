package message

import (
	"bytes"
	"strings"
)

// inText finds files that stand in a text between lines: uuencode (POSIX),
// its form with base64, and yEnc, of which only the name is taken.
type inText struct {
	w     *walker
	at    place
	files []textFile
	open  bool // the last one goes on
	b64   bool
}

type textFile struct {
	name string
	data []byte
}

// line takes the start of the next line of the body.
func (t *inText) line(l []byte) {
	if t.open {
		t.goOn(l)
		return
	}
	if len(l) < 8 || l[0] != 'b' && l[0] != '=' {
		return
	}
	if rest, ok := bytes.CutPrefix(l, []byte("=ybegin ")); ok {
		if i := bytes.Index(rest, []byte("name=")); i >= 0 {
			t.add(YEncoded, rest[i+5:])
		}
		return
	}
	t.begin(l)
}

// begin opens a file if the line does.
func (t *inText) begin(l []byte) {
	if name := uuencoded(l); name != "" && t.add(UUEncoded, []byte(name)) {
		t.open, t.b64 = true, bytes.HasPrefix(l, []byte("begin-"))
	}
}

// uuencoded gives the file name of a line "begin 644 name", or of its form for base64.
func uuencoded(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte("begin "))
	if !ok {
		if rest, ok = bytes.CutPrefix(line, []byte("begin-base64 ")); !ok {
			return ""
		}
	}
	mode, name, ok := strings.Cut(string(rest[:min(len(rest), maxValue)]), " ")
	if !ok || len(mode) < 3 || len(mode) > 4 || strings.Trim(mode, "01234567") != "" {
		return ""
	}
	name = strings.TrimSpace(name)
	if !isUTF8(name) {
		name = latin(name)
	}
	return name
}

// add begins a file; each counts as a part.
func (t *inText) add(k Kind, raw []byte) bool {
	t.w.note(k, t.at.path)
	if t.w.st.parts >= t.w.lim.Parts {
		t.w.note(PartLimit, t.at.path)
		return false
	}
	t.w.st.parts++
	name := strings.TrimSpace(clip(string(raw)))
	if !isUTF8(name) {
		name = latin(name)
	}
	t.files = append(t.files, textFile{name: name})
	return true
}

// goOn takes a line of a file. Readers end a file at different marks; so only
// the certain one ends it here, and what is no line of it is passed over.
func (t *inText) goOn(l []byte) {
	l = trimEnd(l)
	f := &t.files[len(t.files)-1]
	if string(l) == "end" || string(l) == "====" {
		t.open = false
		return
	}
	if uuencoded(l) != "" {
		t.open = false // one that never ended
		t.begin(l)
		return
	}
	var data []byte
	if t.b64 {
		data = unbase64(string(l))
	} else {
		data = uuLine(l)
	}
	if len(data) == 0 || !t.w.afford(t.at, len(data)) {
		return
	}
	f.data = append(f.data, data...)
}

// uuLine decodes a line: a length, then four characters for three bytes;
// blanks at the end may have been cut off.
func uuLine(l []byte) []byte {
	if len(l) < 2 || l[0] < ' ' || l[0] > '`' {
		return nil
	}
	n := int(l[0]-' ') & 63
	if len(l) > 1+(n+2)/3*4+2 {
		return nil // a line of text
	}
	out := make([]byte, 0, n+3)
	at := func(i int) byte {
		if i < len(l) {
			return (l[i] - ' ') & 63
		}
		return 0
	}
	for i := 1; len(out) < n; i += 4 {
		a, b, c, d := at(i), at(i+1), at(i+2), at(i+3)
		out = append(out, a<<2|b>>4, b<<4|c>>2, c<<6|d)
	}
	return out[:n]
}

// give hands out the files, behind the text that they stand in.
func (t *inText) give() error {
	for _, f := range t.files {
		err := t.w.fn(&Part{Path: t.at.path, Role: Embedded, Types: []string{"application/octet-stream"}, Names: []string{f.name},
			Disposition: "attachment", Attached: t.at.attached, Body: bytes.NewReader(f.data), w: t.w})
		if err != nil {
			return err
		}
	}
	return nil
}
