package message

import (
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// DecodeHeader gives a header value as a person reads it: encoded words of RFC
// 2047 in any charset are decoded, raw 8-bit text is taken as UTF-8 or else as
// Windows-1252. What cannot be decoded stays as it is. Values beyond 64 KiB are cut.
func DecodeHeader(s string) string {
	if len(s) > MaxHeaderField {
		s = s[:MaxHeaderField]
	}
	if !utf8.ValidString(s) {
		s = latin(s)
	}
	if !strings.Contains(s, "=?") {
		return s
	}
	d := mime.WordDecoder{CharsetReader: charsetReader}
	out, err := d.DecodeHeader(s)
	if err != nil {
		return s
	}
	return strings.ToValidUTF8(out, "\uFFFD")
}

// charsetReader decodes a charset by its WHATWG label.
func charsetReader(label string, in io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(strings.TrimSpace(label))
	if err != nil {
		return nil, err
	}
	return transform.NewReader(in, enc.NewDecoder()), nil
}

// latin reads bytes that are no UTF-8 as Windows-1252, which never fails.
func latin(s string) string {
	enc, err := htmlindex.Get("windows-1252")
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	out, err := enc.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return out
}
