package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// textReader decodes a charset to UTF-8. Without a charset, with US-ASCII or
// UTF-8, and with an unknown one (known is then false) the text is read as
// UTF-8, and bytes that are none as Windows-1252.
func textReader(charset string, r io.Reader) (out io.Reader, known bool) {
	label := strings.Trim(strings.ToLower(strings.TrimSpace(charset)), "\"'")
	switch label {
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "utf-8", "utf8", "unicode-1-1-utf-8":
		return transform.NewReader(r, guess{}), true
	case "utf-7", "utf7", "unicode-1-1-utf-7":
		return transform.NewReader(r, &utf7{}), true
	case "utf-16":
		return transform.NewReader(r, unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder()), true
	}
	enc, err := htmlindex.Get(label)
	if err != nil {
		return transform.NewReader(r, guess{}), false
	}
	return transform.NewReader(r, enc.NewDecoder()), true
}

func isUTF8(s string) bool { return utf8.ValidString(s) }

// guess passes UTF-8 and takes every other byte for Windows-1252.
type guess struct{ transform.NopResetter }

// Transform implements transform.Transformer.
func (guess) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if c := src[nSrc]; c < utf8.RuneSelf {
			if nDst == len(dst) {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst] = c
			nDst, nSrc = nDst+1, nSrc+1
			continue
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(src[nSrc])
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// utf7 decodes UTF-7, RFC 2152: no label of the web's list, but mail programs
// read it, so text can hide in it.
type utf7 struct {
	in    bool // inside +...-
	start bool // right behind the plus
	acc   uint32
	bits  uint
	high  rune // first half of a surrogate pair
}

// Reset implements transform.Transformer.
func (u *utf7) Reset() { *u = utf7{} }

// Transform implements transform.Transformer.
func (u *utf7) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		v := base64Values[c]
		switch {
		case u.in && v < 64:
			u.start = false
			nDst += u.digit(dst[nDst:], v)
		case u.in && c == '-':
			if u.start {
				dst[nDst] = '+'
				nDst++
			}
			u.Reset()
		case c == '+' && !u.in:
			u.in, u.start = true, true
		default:
			u.Reset()
			nDst += utf8.EncodeRune(dst[nDst:], charmap.Windows1252.DecodeByte(c))
		}
	}
	return nDst, nSrc, nil
}

// digit takes six bits of UTF-16 and writes what is complete.
func (u *utf7) digit(dst []byte, v byte) int {
	u.acc = u.acc<<6 | uint32(v)
	if u.bits += 6; u.bits < 16 {
		return 0
	}
	u.bits -= 16
	r := rune(u.acc >> u.bits & 0xffff)
	u.acc &= 1<<u.bits - 1
	switch {
	case r >= 0xd800 && r < 0xdc00:
		u.high = r
		return 0
	case r >= 0xdc00 && r < 0xe000 && u.high != 0:
		r = (u.high-0xd800)<<10 + (r - 0xdc00) + 0x10000
	}
	u.high = 0
	return utf8.EncodeRune(dst, r) // half a pair becomes U+FFFD
}
