package message

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

func outlined(t *testing.T, raw string) string {
	t.Helper()
	o, err := NewOutline(strings.NewReader(raw), 0)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, a := range o.List {
		fmt.Fprintf(&b, "%s %q %q %d\n", a.Part, a.Names, a.Types, a.Size)
	}
	if o.Total != len(o.List) {
		fmt.Fprintf(&b, "%d in all\n", o.Total)
	}
	return b.String()
}

// What a list says of attachments: names in every charset and spelling, types,
// decoded sizes.
func TestOutline(t *testing.T) {
	part := func(head, body string) string { return head + "\r\n\r\n" + body + "\r\n--bb" }
	message := func(parts ...string) string {
		return "From: a@b\r\nMIME-Version: 1.0\r\n" + mixed + "\r\n\r\n--bb\r\n" + strings.Join(parts, "\r\n") + "--\r\n"
	}
	text := part("Content-Type: text/plain", "hello")
	for _, c := range []struct{ name, raw, want string }{
		{"text alone", "Subject: x\r\n\r\nhello\r\n", ""},
		{"text and file", message(text, part("Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64", "TVqQAAMAAAAEAAAA")),
			"2 [\"a.pdf\"] [\"application/pdf\"] 12\n"},
		{"RFC 2047, ISO-2022-JP", message(part("Content-Type: text/plain\r\nContent-Disposition: attachment; filename=\"=?iso-2022-jp?B?GyRCQEE1YT1xGyhC?=.txt\"", "abc")),
			"1 [\"請求書.txt\" \"=?iso-2022-jp?B?GyRCQEE1YT1xGyhC?=.txt\"] [\"text/plain\"] 3\n"},
		{"RFC 2231, KOI8-R", message(part("Content-Type: image/png\r\nContent-Disposition: inline; filename*=koi8-r''%D3%DE%C5%D4.png", "abc")),
			"1 [\"счет.png\"] [\"image/png\"] 3\n"},
		{"two names", message(part("Content-Type: application/x-msdownload; name=good.txt\r\nContent-Disposition: attachment; filename=evil.exe", "MZ")),
			"1 [\"evil.exe\" \"good.txt\"] [\"application/x-msdownload\"] 2\n"},
		{"no name", message(text, part("Content-Type: application/zip", "PK")), "2 [] [\"application/zip\"] 2\n"},
		{"lines in a name", message(part("Content-Type: image/png\r\nContent-Disposition: inline; filename*=utf-8''a%0D%0Ab%00c.png", "abc")),
			"1 [\"a  b c.png\"] [\"image/png\"] 3\n"},
		{"attached message", message(part("Content-Type: message/rfc822", "Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\n\r\ntext\r\n--cc\r\nContent-Type: image/gif; name=i.gif\r\n\r\nGIF\r\n--cc--")),
			"1 [] [\"message/rfc822\"] 7\n1.1.2 [\"i.gif\"] [\"image/gif\"] 3\n"},
		{"uuencoded in the text", "Subject: x\r\n\r\nsee\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n", "1#1 [\"cat.txt\"] [\"application/octet-stream\"] 3\n"},
		{"the message is the file", "MIME-Version: 1.0\r\nContent-Type: application/pdf; name=\"x.pdf\"\r\n\r\n%PDF\r\n", "1 [\"x.pdf\"] [\"application/pdf\"] 6\n"},
		{"readings of one part", message(part("Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit", "TVqQAAMA")),
			"1 [\"a.pdf\"] [\"application/pdf\"] 8\n"},
		{"long name", message(part("Content-Type: image/png; name=\""+strings.Repeat("a", 300)+".exe\"", "x")),
			"1 [\"…" + strings.Repeat("a", 250) + ".exe\"] [\"image/png\"] 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := outlined(t, c.raw); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// Nobody makes a list without end; what is beyond is counted.
func TestOutlineBounds(t *testing.T) {
	raw := "MIME-Version: 1.0\r\n" + mixed + "\r\n\r\n" + strings.Repeat("--bb\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n", 150) + "--bb--\r\n"
	o, err := NewOutline(strings.NewReader(raw), 0)
	if err != nil || len(o.List) != MaxAttachments || o.Total != 150 {
		t.Errorf("%d of %d, %v", len(o.List), o.Total, err)
	}
	over := "MIME-Version: 1.0\r\n" + mixed + "\r\n\r\n" + strings.Repeat("--bb\r\n\r\nx\r\n", 2000) + "--bb--\r\n"
	r := strings.NewReader(over)
	if _, err := NewOutline(r, 0); err != nil || r.Len() != 0 {
		t.Errorf("%d bytes are left, %v: who feeds it would wait", r.Len(), err)
	}
	broken := errors.New("broken")
	if _, err := NewOutline(iotest.ErrReader(broken), 0); !errors.Is(err, broken) {
		t.Error(err)
	}
}

func BenchmarkOutline(b *testing.B) {
	small := "From: a@b\r\nSubject: hello\r\nMessage-ID: <a@b>\r\n\r\n" + strings.Repeat("Lorem ipsum dolor sit amet, consectetur\r\n", 100)
	file := "MIME-Version: 1.0\r\n" + mixed + "\r\n\r\n--bb\r\n\r\ntext\r\n--bb\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 800) + "--bb--\r\n"
	for name, raw := range map[string]string{"text 4 KiB": small, "file 62 KiB": file} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewOutline(strings.NewReader(raw), 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The text of a message as somebody reads it, in any charset, as much of it as
// is asked for.
func TestOutlineText(t *testing.T) {
	head := "MIME-Version: 1.0\r\n" + mixed + "\r\n\r\n"
	for _, c := range []struct {
		name, raw, want string
		room            int
	}{
		{"plain", "Subject: x\r\n\r\nDear  all,\r\n\r\n\tmoney\r\n", "Dear all, money", 100},
		{"cut", "Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n", "Gr", 3},
		{"none", "Subject: x\r\n\r\nDear\r\n", "", 0},
		{"windows-1251, quoted", "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=windows-1251\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=D1=F7=E5=F2 =\r\n12\r\n", "Счет 12", 100},
		{"HTML and text, a file between", head + "--bb\r\nContent-Type: text/html\r\n\r\n<style>x{}</style><p>w<b>or</b>d &amp; <br>more</p>\r\n--bb\r\nContent-Type: text/plain; name=a.txt\r\n\r\nnot this\r\n--bb\r\n\r\nlast\r\n--bb--\r\n", "word & more\nlast", 100},
		{"two parts, one room", head + "--bb\r\n\r\nfirst\r\n--bb\r\n\r\nsecond\r\n--bb--\r\n", "first\nsec", 9},
		{"base64", "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n6KuL5rGC5pu4\r\n", "請求書", 100},
	} {
		o, err := NewOutline(strings.NewReader(c.raw), c.room)
		if err != nil || o.Text != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, o.Text, err, c.want)
		}
	}
	huge := "Subject: x\r\n\r\n" + strings.Repeat("word ", 1<<20)
	if o, err := NewOutline(strings.NewReader(huge), 1<<30); err != nil || len(o.Text) > MaxText {
		t.Errorf("%d bytes, %v", len(o.Text), err)
	}
}
