package message

import (
	"slices"
	"strings"
)

// entity is what the Content fields of a header say, in all readings.
type entity struct {
	path        string
	types       []string
	boundaries  []string
	encodings   []string // "", base64, quoted-printable; never empty
	charsets    []string // never empty
	names       []string
	disposition string
}

// maxContentFields is how many fields of one kind are read in one part.
const maxContentFields = 8

// maxNames is how many readings of a part's name are kept.
const maxNames = 32

// interpret reads the Content fields. fallback is the type of a part without
// one, RFC 2045 section 5.2 and RFC 2046 section 5.1.5.
func (w *walker) interpret(h *Header, path, fallback string) *entity {
	e := &entity{path: path}
	var names nameList
	for _, v := range w.contentValues(h, path, "Content-Disposition", DuplicateDisposition) {
		p := w.parse(v, path)
		if e.disposition == "" {
			e.disposition = p.main
		}
		names.take(&p, "filename")
		names.take(&p, "name")
		if p.repeated("filename") {
			w.note(DuplicateParameter, path)
		}
		w.misplaced(e, &p)
	}
	for _, v := range w.contentValues(h, path, "Content-Type", DuplicateContentType) {
		p := w.parse(v, path)
		w.contentType(e, &p)
		names.take(&p, "name")
		names.take(&p, "filename")
	}
	if len(e.types) == 0 {
		e.types = []string{fallback}
	}
	if len(e.charsets) == 0 {
		e.charsets = []string{""}
	}
	for _, b := range e.boundaries {
		if malformedBoundary(b) {
			w.note(BoundaryMalformed, path)
		}
	}
	w.encodings(h, e)
	e.names = names.list
	if names.encoded {
		w.note(EncodedName, path)
	}
	if names.differ {
		w.note(NameAmbiguous, path)
	}
	return e
}

// misplaced takes a boundary out of a field where none belongs: a reader that
// gathers the parameters of all fields would use it.
func (w *walker) misplaced(e *entity, p *parsed) {
	for _, b := range p.values("boundary") {
		e.boundaries = appendOnce(e.boundaries, strings.TrimRight(b, " \t"))
		w.note(BoundaryMisplaced, e.path)
	}
}

// malformedBoundary checks RFC 2046 section 5.1.1: 1 to 70 of its characters.
func malformedBoundary(b string) bool {
	return len(b) > 70 || strings.ContainsFunc(b, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || strings.ContainsRune("'()+_,-./:=? ", r))
	})
}

func (w *walker) parse(v, path string) parsed {
	p := parseValue(v)
	if p.malformed {
		w.note(MalformedParameter, path)
	}
	if p.limit {
		w.note(ParameterLimit, path)
	}
	return p
}

// contentValues gives the bodies of the fields of a name. One with NUL is read
// twice: without the NULs, and as one who takes NUL for the end.
func (w *walker) contentValues(h *Header, path, name string, twice Kind) []string {
	all := h.Values(name)
	if len(all) > 1 {
		w.note(twice, path)
	}
	if len(all) > maxContentFields {
		w.note(HeaderLimit, path)
		all = all[:maxContentFields]
	}
	for _, f := range h.short {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	var out []string
	for _, v := range all {
		if i := strings.IndexByte(v, 0); i >= 0 {
			out = append(out, strings.ReplaceAll(v, "\x00", ""), strings.ReplaceAll(v[:i], "\x00", ""))
			continue
		}
		out = append(out, v)
	}
	return out
}

// contentType adds one reading of a Content-Type field.
func (w *walker) contentType(e *entity, p *parsed) {
	t := p.main
	if major, minor, ok := strings.Cut(t, "/"); !ok || major == "" || minor == "" || strings.ContainsAny(t, "\"=,<>@") {
		w.note(MalformedType, e.path)
		if t = "application/octet-stream"; major == "message" && ok {
			t = "message/rfc822" // some readers look no further
		}
	}
	if !slices.Contains(e.types, t) {
		e.types = append(e.types, t)
	}
	if !multipart(t) {
		w.misplaced(e, p)
	} else {
		all := p.values("boundary")
		for _, b := range all {
			if d := DecodeHeader(b); d != b {
				all = append(all, d) // not allowed in a parameter, RFC 2047 section 5, but done
			}
		}
		if p.given["boundary"] > 0 && len(all) == 0 {
			w.note(BoundaryAmbiguous, e.path) // for some readers "--" stands between the parts then
		}
		for _, b := range all {
			if b = strings.TrimRight(b, " \t"); b != "" && !slices.Contains(e.boundaries, b) {
				e.boundaries = append(e.boundaries, b)
			}
		}
		if p.repeated("boundary") {
			w.note(DuplicateParameter, e.path)
			w.note(BoundaryAmbiguous, e.path)
		} else if len(all) > 1 {
			w.note(BoundaryAmbiguous, e.path)
		}
	}
	for i, c := range p.values("charset") {
		if i > 0 && !slices.Contains(e.charsets, strings.ToLower(c)) {
			w.note(DuplicateParameter, e.path)
		}
		e.charsets = appendOnce(e.charsets, strings.ToLower(c))
	}
	e.charsets = e.charsets[:min(len(e.charsets), 3)]
	switch t {
	case "message/partial":
		w.note(PartialMessage, e.path)
	case "message/external-body":
		w.note(ExternalBody, e.path)
	}
}

// encodings reads Content-Transfer-Encoding, RFC 2045 section 6.
func (w *walker) encodings(h *Header, e *entity) {
	for _, v := range w.contentValues(h, e.path, "Content-Transfer-Encoding", DuplicateEncoding) {
		p := parseValue(v)
		enc := strings.Trim(p.main, "\"'")
		switch enc {
		case "base64", "quoted-printable":
		case "7bit", "8bit", "binary", "":
			enc = ""
		default:
			w.note(UnknownEncoding, e.path)
			enc = ""
		}
		if !slices.Contains(e.encodings, enc) {
			e.encodings = append(e.encodings, enc)
		}
	}
	if len(e.encodings) == 0 {
		e.encodings = []string{""}
	}
}

func multipart(t string) bool { return strings.HasPrefix(t, "multipart/") }

// attachedMessage reports whether a part of the type is read as a message by
// some reader: message/rfc822 and message/global by all, message/news and types
// that are not known by some; but not those that have the form of mail only.
func attachedMessage(t string) bool {
	minor, ok := strings.CutPrefix(t, "message/")
	return ok && !slices.Contains(noMessages[:], minor)
}

var noMessages = [...]string{"partial", "external-body", "delivery-status", "global-delivery-status", "disposition-notification", "global-disposition-notification",
	"global-headers", "feedback-report", "tracking-status", "http", "s-http", "sip", "sipfrag", "imdn+xml", "cpim", "ohttp-req", "ohttp-res"}

// nameList gathers the readings of a part's file name.
type nameList struct {
	list    []string
	differ  bool
	encoded bool
}

// take adds the readings of one parameter.
func (l *nameList) take(p *parsed, name string) {
	for _, raw := range p.values(name) {
		all := nameReadings(raw)
		l.encoded = l.encoded || len(all) > 1 && strings.Contains(raw, "=?") && all[0] != strings.TrimSpace(raw)
		for _, v := range all[:min(len(all), maxNames-len(l.list))] {
			l.list = appendOnce(l.list, v)
		}
		l.differ = l.differ || len(all) > 0 && all[0] != l.list[0]
	}
}

// nameReadings gives one written name as readers show and store it: encoded
// words decoded (not allowed in a parameter, RFC 2047 section 5, but done) and
// raw, and without the final dots and blanks that some systems drop.
func nameReadings(raw string) []string {
	plain := raw
	if !isUTF8(raw) {
		plain = latin(raw)
	}
	var out []string
	if strings.Contains(plain, "=?") {
		out = appendOnce(out, strings.TrimSpace(DecodeHeader(plain)))
	}
	out = appendOnce(out, strings.TrimSpace(plain))
	for _, v := range slices.Clone(out) {
		out = appendOnce(out, strings.TrimRight(v, ". "))
	}
	return out
}
