package worker

import (
	"bytes"
	"encoding/binary"

	"lazaret/internal/unpack"
)

// Attributes of TNEF, MS-OXTNEF 2.1.3.
const (
	tnefRendData   = 0x00069002 // begins an attachment
	tnefTitle      = 0x00018010
	tnefData       = 0x0006800f
	tnefAttachment = 0x00069005 // MAPI properties of the attachment
	tnefMAPI       = 0x00069003 // of the message
	tnefBody       = 0x0002800c
)

// tnef opens winmail.dat: a list of attributes, each with a level, a number, a
// length and a checksum that nobody looks at.
func (s *session) tnef(f *file) {
	all := f.data.bytes()
	if len(all) < 6 {
		s.fail(f, errTNEF)
		return
	}
	all = all[6:]
	var name string
	var data []byte
	have := false
	flush := func() bool {
		if !have {
			return true
		}
		have = false
		return s.member(f, name, nil, bytes.NewReader(data)) == nil
	}
	for len(all) > 0 && !s.stopped {
		if len(all) < 9 {
			s.fail(f, errTNEF)
			break
		}
		id, n := binary.LittleEndian.Uint32(all[1:]), int64(binary.LittleEndian.Uint32(all[5:]))
		all = all[9:]
		v := all[:min(n, int64(len(all)))]
		if n > int64(len(all)) {
			s.fail(f, errTNEF)
		}
		all = all[min(n+2, int64(len(all))):]
		switch id {
		case tnefRendData:
			if !flush() {
				return
			}
			name, data = "", nil
		case tnefTitle:
			name, have = latin(bytes.TrimRight(v[:min(len(v), 1<<10)], "\x00")), true
		case tnefData:
			data, have = v, true
		case tnefBody:
			if s.member(f, "body", nil, bytes.NewReader(v)) != nil {
				return
			}
		case tnefAttachment:
			if long := longName(v); long != "" {
				name = long
			}
			if data == nil && bytes.Contains(v, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) {
				data, have = v[bytes.Index(v, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):], true // an attached message or object
			}
		case tnefMAPI:
			s.text(f, unpack.Text, strayText(v))
		}
	}
	flush()
}

type tnefError struct{}

func (tnefError) Error() string { return "TNEF attribute cut short" }

var errTNEF error = tnefError{}

// longName gives the property PR_ATTACH_LONG_FILENAME, in Unicode or not: type,
// number, count 1, length, text. It is searched for: properties in front of it
// would all have to be known to go over them.
func longName(v []byte) string {
	for _, p := range []struct {
		mark string
		wide bool
	}{{"\x1f\x00\x07\x37", true}, {"\x1e\x00\x07\x37", false}} {
		i := bytes.Index(v, []byte(p.mark))
		if i < 0 || i+12 > len(v) {
			continue
		}
		n := int64(binary.LittleEndian.Uint32(v[i+8:]))
		text := v[i+12:]
		text = text[:min(n, int64(len(text)), 2<<10)]
		if p.wide {
			return utf16Text(text)
		}
		return latin(bytes.TrimRight(text, "\x00"))
	}
	return ""
}
