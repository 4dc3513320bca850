package message

import (
	"bytes"
	"io"
	"lazaret/internal/testlib/odd"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzHeaderScanner(f *testing.F) {
	f.Add([]byte("Subject: a\r\n b\r\nMessage-ID: <x>\r\n\r\n"), 5)
	f.Add([]byte("Received: x\nSubject:\n\n"), 0)
	f.Fuzz(func(t *testing.T, raw []byte, cut int) {
		one, two := NewHeaderScanner(), NewHeaderScanner()
		one.Write(raw)
		cut = min(max(cut, 0), len(raw))
		two.Write(raw[:cut])
		two.Write(raw[cut:])
		if one.Subject() != two.Subject() || one.MessageID() != two.MessageID() || one.ReceivedCount() != two.ReceivedCount() || one.Done() != two.Done() {
			t.Fatalf("cut at %d: %q %q", cut, one.Subject(), two.Subject())
		}
		if len(one.Subject()) > maxSubject || len(one.MessageID()) > maxMessageID {
			t.Fatal("kept too much")
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	for _, s := range []string{"=?utf-8?Q?a=20b?= =?utf-8?B?YQ==?=", "=?iso-2022-jp?B?GyRCJCIbKEI=?=", "=?utf-7?Q?+AEgA-?=", "\xff=?", "=?utf-16?B?/v8=?="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if out := DecodeHeader(s); !utf8.ValidString(out) || len(out) > 6*MaxHeaderField {
			t.Fatalf("%q gave %q", s, out)
		}
	})
}

// FuzzWalk: no message makes the walk fail or work without bound; names are
// one line of valid UTF-8 in length; what is no multipart gives all its bytes.
func FuzzWalk(f *testing.F) {
	for _, c := range odd.Messages() {
		f.Add([]byte(c.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWalker(bytes.NewReader(raw), Limits{Reread: 1 << 16}, func(p *Part) error {
			for _, n := range p.Names {
				if n == "" || !utf8.ValidString(n) || len(n) > 16*maxValue {
					t.Fatalf("name %q", n)
				}
			}
			if len(p.Types) == 0 {
				t.Fatal("a part without a type")
			}
			r := p.Body
			if p.IsText() {
				r = p.Text()
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if p.IsText() && !utf8.Valid(b) {
				t.Fatalf("text %q", b)
			}
			if p.IsHTML() {
				HTMLText(b)
			}
			return nil
		})
		if err := w.entity(place{fallback: "text/plain"}); err != nil && err != errEnough {
			t.Fatal(err)
		}
		if limit := int64(40*len(raw)) + 4<<16; w.st.work > limit {
			t.Fatalf("%d steps for %d bytes", w.st.work, len(raw))
		}
	})
}

// FuzzParams: a parameter list of any bytes, and its time by the number of results.
func FuzzParams(f *testing.F) {
	for _, s := range []string{`a/b; c="d\"e"; f*0*=utf-8''%20; f*1=x (y)`, `a/b c=d e='f'`, `;;="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := parseValue(s)
		if len(p.params) > maxParams {
			t.Fatal("too many")
		}
		for _, q := range p.params[:min(len(p.params), 5)] {
			for _, v := range p.values(strings.TrimRight(q.name, "*0123456789")) {
				if !utf8.ValidString(v) && utf8.ValidString(s) && !strings.ContainsAny(s, "*") && len(s) < maxValue {
					t.Fatalf("%q gave %q", s, v)
				}
			}
		}
	})
}
