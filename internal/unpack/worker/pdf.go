package worker

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/ascii85"
	"encoding/hex"
	"io"

	"lazaret/internal/unpack"
)

// pdf looks into a PDF file without believing its table of objects, which
// hostile files spoil: every stream is found by its words, inflated, and
// searched for names, embedded files and text.
func (s *session) pdf(f *file) {
	d := &pdfFile{s: s, f: f, seen: map[unpack.Kind]bool{}}
	all := f.data.bytes()
	for len(all) > 0 && !s.stopped && s.broken == nil {
		i := bytes.Index(all, []byte("stream"))
		if i < 0 {
			break
		}
		before := all[:i]
		all = all[i+6:]
		if bytes.HasSuffix(before, []byte("end")) {
			continue
		}
		d.names(before)
		dict := before[max(0, len(before)-64<<10):]
		if k := bytes.LastIndex(dict, []byte(" obj")); k >= 0 {
			dict = dict[k:]
		}
		body := all
		if n := bytes.Index(all, []byte("endstream")); n >= 0 {
			body, all = all[:n], all[n:]
		} else {
			all = nil
		}
		d.stream(plainNames(dict), bytes.TrimPrefix(bytes.TrimPrefix(body, []byte("\r")), []byte("\n")))
	}
	d.names(all)
	if d.over {
		s.found(unpack.TextLimit, f, "")
	}
	s.text(f, unpack.Text, d.text)
}

type pdfFile struct {
	s    *session
	f    *file
	text []byte
	over bool
	seen map[unpack.Kind]bool
}

// plainNames resolves #xx in names, by which they hide.
func plainNames(b []byte) []byte {
	if bytes.IndexByte(b, '#') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		var c [1]byte
		if b[i] == '#' && i+2 < len(b) {
			if _, err := hex.Decode(c[:], b[i+1:i+3]); err == nil {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// names looks for what a PDF file can do.
func (d *pdfFile) names(b []byte) {
	b = plainNames(b)
	for _, n := range []struct {
		name string
		kind unpack.Kind
	}{{"/JavaScript", unpack.PDFScript}, {"/JS", unpack.PDFScript}, {"/Launch", unpack.PDFLaunch}, {"/OpenAction", unpack.PDFOpenAction},
		{"/AA", unpack.PDFOpenAction}, {"/EmbeddedFile", unpack.EmbeddedObject}, {"/Encrypt", unpack.Encrypted}} {
		if !d.seen[n.kind] && hasName(b, n.name) {
			d.seen[n.kind] = true
			d.s.found(n.kind, d.f, n.name)
		}
	}
	for rest := b; ; {
		_, after, ok := bytes.Cut(rest, []byte("/URI"))
		if !ok {
			return
		}
		rest = after
		if t := bytes.TrimLeft(after[:min(len(after), 8)], " \r\n"); len(t) > 0 && t[0] == '(' {
			d.add(literal(after[bytes.IndexByte(after, '(')+1:]))
		}
	}
}

// hasName reports whether the name stands there whole.
func hasName(b []byte, name string) bool {
	for {
		i := bytes.Index(b, []byte(name))
		if i < 0 {
			return false
		}
		b = b[i+len(name):]
		if len(b) == 0 || !(b[0] >= 'a' && b[0] <= 'z' || b[0] >= 'A' && b[0] <= 'Z') {
			return true
		}
	}
}

// stream decodes one and looks at what it is.
func (d *pdfFile) stream(dict, body []byte) {
	for _, image := range []string{"/DCTDecode", "/JPXDecode", "/CCITTFaxDecode", "/JBIG2Decode"} {
		if bytes.Contains(dict, []byte(image)) {
			return // an image
		}
	}
	r := d.decoder(dict, body)
	if bytes.Contains(dict, []byte("/EmbeddedFile")) {
		_ = d.s.member(d.f, "embedded", nil, r)
		return
	}
	b, err := io.ReadAll(io.LimitReader(d.s.counted(d.f, r), maxText+1))
	if len(b) > maxText {
		d.over = true
	}
	if err != nil && len(b) == 0 {
		return // no filter of ours, or encrypted: the names outside told
	}
	if bytes.Contains(dict, []byte("/ObjStm")) {
		d.names(b)
	}
	if bytes.Contains(b, []byte("BT")) || bytes.Contains(dict, []byte("/XFA")) {
		d.add(shownText(b))
	}
	if d.seen[unpack.PDFScript] && bytes.Contains(b, []byte("function")) {
		d.s.text(d.f, unpack.Macros, []byte(latin(b[:min(len(b), maxText)])))
	}
}

// decoder undoes the filters in their order.
func (d *pdfFile) decoder(dict, body []byte) io.Reader {
	var r io.Reader = bytes.NewReader(body)
	i := bytes.Index(dict, []byte("/Filter"))
	if i < 0 {
		return r
	}
	for rest := dict[i+7:]; ; {
		_, after, ok := bytes.Cut(rest, []byte("/"))
		if !ok {
			return r
		}
		end := bytes.IndexAny(after, " /<>[]()\r\n\t\x00")
		if end < 0 {
			end = len(after)
		}
		switch string(after[:end]) {
		case "FlateDecode", "Fl":
			r = inflate(r)
		case "ASCIIHexDecode", "AHx":
			r = hex.NewDecoder(&onlyHex{r: r})
		case "ASCII85Decode", "A85":
			r = ascii85.NewDecoder(&until{r: r, mark: '~'})
		case "LZWDecode", "LZW", "RunLengthDecode", "RL", "Crypt":
			d.s.found(unpack.Unsupported, d.f, "PDF filter "+string(after[:end]))
			return failing{io.ErrUnexpectedEOF}
		default:
			return r // the name of the next entry
		}
		rest = after[end:]
	}
}

// inflate is lenient: with a spoilt head the data are tried without it.
func inflate(r io.Reader) io.Reader {
	b, err := io.ReadAll(r)
	if err != nil || len(b) < 2 {
		return failing{io.ErrUnexpectedEOF}
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return flate.NewReader(bytes.NewReader(b[2:]))
	}
	return z
}

// onlyHex passes the digits up to the mark of the end.
type onlyHex struct {
	r   io.Reader
	end bool
}

func (o *onlyHex) Read(p []byte) (int, error) {
	if o.end {
		return 0, io.EOF
	}
	n, err := o.r.Read(p)
	k := 0
	for _, c := range p[:n] {
		if c == '>' {
			o.end = true
			break
		}
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' {
			p[k] = c
			k++
		}
	}
	return k, err
}

// until ends at a byte.
type until struct {
	r    io.Reader
	mark byte
	end  bool
}

func (u *until) Read(p []byte) (int, error) {
	if u.end {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if i := bytes.IndexByte(p[:n], u.mark); i >= 0 {
		u.end = true
		return i, nil
	}
	return n, err
}

func (d *pdfFile) add(text []byte) {
	if len(text) == 0 {
		return
	}
	if len(d.text)+len(text) > maxText {
		d.over = true
		return
	}
	d.text = append(append(d.text, text...), '\n')
}

// shownText gives the strings of a content stream. Large gaps in an array of
// TJ are blanks, and operators that move to a new line are line ends. Fonts with
// an encoding of their own stay unreadable.
func shownText(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			t := literal(b[i+1:])
			out = append(out, latin(t)...)
			i += literalLen(b[i+1:])
		case c == '<' && i+1 < len(b) && b[i+1] != '<':
			end := bytes.IndexByte(b[i:], '>')
			if end < 0 {
				return out
			}
			out = append(out, hexText(b[i+1:i+end])...)
			i += end
		case c == '-' && i+1 < len(b) && b[i+1] >= '2' && b[i+1] <= '9' && i+3 < len(b) && b[i+3] >= '0' && b[i+3] <= '9':
			out = append(out, ' ')
		case c == 'T' && i+1 < len(b) && (b[i+1] == 'd' || b[i+1] == 'D' || b[i+1] == '*' || b[i+1] == 'm'),
			c == 'E' && i+1 < len(b) && b[i+1] == 'T', c == '\'' || c == '"':
			if len(out) > 0 && out[len(out)-1] != '\n' {
				out = append(out, '\n')
			}
		}
	}
	return out
}

// hexText reads <...>: pairs of zero and a letter are UTF-16.
func hexText(b []byte) []byte {
	d, err := io.ReadAll(hex.NewDecoder(&onlyHex{r: bytes.NewReader(b)}))
	if err != nil && len(d) == 0 {
		return nil
	}
	return []byte(latin(bytes.ReplaceAll(d, []byte{0}, nil)))
}

// literalLen gives the length of a string up to its closing bracket.
func literalLen(b []byte) int {
	depth := 1
	for i := 0; i < len(b); i++ {
		switch b[i] {
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
	return len(b)
}

// literal resolves the escapes of a string, ISO 32000 section 7.3.4.2.
func literal(b []byte) []byte {
	b = b[:literalLen(b)]
	b = bytes.TrimSuffix(b, []byte(")"))
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch c := b[i]; {
		case c >= '0' && c <= '7':
			v := 0
			for k := 0; k < 3 && i < len(b) && b[i] >= '0' && b[i] <= '7'; k++ {
				v = v*8 + int(b[i]-'0')
				i++
			}
			i--
			out = append(out, byte(v))
		case c == 'n' || c == 'r':
			out = append(out, '\n')
		case c == 't':
			out = append(out, '\t')
		case c == '\r' || c == '\n':
		default:
			out = append(out, c)
		}
	}
	return out
}
