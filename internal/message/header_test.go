package message

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
)

// The scanner sees the same however the content is cut into writes.
func TestHeaderScanner(t *testing.T) {
	raw := "Received: one\r\nreceived : two\r\nSUBJECT: first\r\n\tgoes on\r\n \r\n  here\r\nSubject: second\r\n" +
		"Message-Id:\r\n <a@b>\r\nX-Received: no\r\nno colon\r\n\r\nSubject: body\r\nReceived: body\r\n"
	for cut := range len(raw) {
		h := NewHeaderScanner()
		for _, p := range []string{raw[:cut], raw[cut:]} {
			if n, err := h.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if h.Subject() != "first goes on here" || h.MessageID() != "<a@b>" || h.ReceivedCount() != 2 || !h.Done() || h.Overflow() {
			t.Fatalf("cut at %d: %q %q %d %v", cut, h.Subject(), h.MessageID(), h.ReceivedCount(), h.Done())
		}
	}
	h := NewHeaderScanner()
	h.Write([]byte("Subject: " + strings.Repeat("s", 5000) + "\r\nMessage-ID: " + strings.Repeat("m", 500) + "\r\n"))
	if len(h.Subject()) != maxSubject || len(h.MessageID()) != maxMessageID || h.Done() {
		t.Errorf("%d %d", len(h.Subject()), len(h.MessageID()))
	}
	for range 10 {
		h.Write(make([]byte, 40<<10)) // no line end at all
	}
	if !h.Overflow() || !h.Done() || cap(h.line) > 4*maxSubject {
		t.Errorf("overflow %v, %d bytes kept", h.Overflow(), cap(h.line))
	}
}

func TestDecodeHeader(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                     "plain",
		"":                          "",
		"=?utf-8?Q?J=C3=BCrgen_M?=": "Jürgen M",
		"=?iso-8859-1?Q?Gehaltsliste_f=FCr_November?=": "Gehaltsliste für November",
		"=?utf-8?B?SE9MRE1F?=":                         "HOLDME",
		"a =?utf-8?Q?HOLD?=\r\n =?utf-8?Q?ME?= b":      "a HOLDME b",
		"=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=":              "ü", // one character in two words
		"=?utf-8?q?a?= =?iso-8859-1?q?=FC?=":           "aü",
		"=?utf-8*de?Q?=C3=BC?=":                        "ü",
		"=?iso-2022-jp?B?GyRCJCIbKEI=?=":               "あ",
		"=?utf-7?Q?+AEgATwBM-DME?=":                    "HOLDME",
		"=?x-unknown?Q?=FC?=":                          "ü",
		"x=?utf-8?Q?y?=z":                              "xyz", // not allowed, but shown so
		"=?utf-8?Q?a b?=":                              "a b",
		"=?utf-8?Q?a":                                  "=?utf-8?Q?a",
		"=?utf-8?X?a?=":                                "=?utf-8?X?a?=",
		"=?=?utf-8?Q?a?=":                              "=?a",
		"=??Q?a?=":                                     "=??Q?a?=",
		"M\xfcller":                                    "Müller",
		"Müller":                                       "Müller",
		"=?utf-8?Q?=0D=0ABcc:_x?=":                     "\r\nBcc: x", // decoding is not cleaning: who prints it cleans it
		"=?utf-8?B?!!!?=":                              "",
		"=?utf-8?Q?" + strings.Repeat("a", maxWord+100) + "?=x": "=?utf-8?Q?" + strings.Repeat("a", maxWord+100) + "?=x",
	} {
		if got := DecodeHeader(in); got != want {
			t.Errorf("%.60q: %.60q, want %.60q", in, got, want)
		}
	}
	if got := DecodeHeader(strings.Repeat("x", MaxHeaderField+5)); len(got) != MaxHeaderField {
		t.Errorf("%d bytes", len(got))
	}
}

// What made the standard library's decoder quadratic: beginnings of words with
// one end far behind. Double the header, double the work, which is counted and
// not timed.
func TestDecodeHeaderHostile(t *testing.T) {
	for _, s := range []string{"=?utf-8?B?", "=?x?q?", "=?", "=?utf-8?", "=?a?b?=?", "=?a?q?\xff", "=?a?q?x"} {
		steps := func(n int) (work int) {
			decodeHeader(strings.Repeat(s, n/len(s)-1)+"?=", &work)
			return work
		}
		one, two := steps(MaxHeaderField/2), steps(MaxHeaderField)
		if float64(two) > 2.2*float64(one)+2*maxWord || two > MaxHeaderField*maxWord {
			t.Errorf("%q: %d steps, %d for the double", s, one, two)
		}
	}
}

// Nothing a client says can break the trace field: it stays one field.
func TestReceived(t *testing.T) {
	o := mail.Origin{RemoteIP: netip.MustParseAddr("::ffff:192.0.2.7"), RemoteHost: "mail.example.com", Helo: "mx.example.com", Protocol: "ESMTPS"}
	at := time.Date(2026, 11, 24, 3, 4, 5, 0, time.FixedZone("", 3600))
	to := []mail.Address{{Local: "b", Domain: "example.org"}}
	want := "Received: from mx.example.com (mail.example.com [192.0.2.7])\r\n\tby gw1.example.com with ESMTPS id 17\r\n\tfor <b@example.org>;\r\n\tTue, 24 Nov 2026 03:04:05 +0100\r\n"
	if got := string(Received(o, "gw1.example.com", 17, to, at)); got != want {
		t.Errorf("%q", got)
	}
	if got := string(Received(o, "gw1", 17, append(to, to...), at)); strings.Contains(got, "for ") {
		t.Errorf("names one of two recipients: %q", got)
	}
	o.RemoteIP = netip.MustParseAddr("2001:db8::1")
	for _, evil := range []string{"a\r\nBcc: x@y", "a;b(c)d\\", "\x00", "", strings.Repeat("x", 3000), "ü", "a b\tc"} {
		o.Helo, o.RemoteHost, o.Protocol = evil, evil, evil
		got := Received(o, evil, 1, []mail.Address{{Local: `"` + evil + `"`, Domain: "x"}}, at)
		h, fs, err := ReadHeader(strings.NewReader(string(got)+"\r\n"), Limits{})
		if err != nil || len(h.Fields) != 1 || h.Fields[0].Name != "Received" || len(fs) > 0 {
			t.Errorf("%.20q: %q %v %v", evil, got, fs, err)
		}
		for l := range strings.SplitSeq(string(got), "\r\n") {
			if len(l) > 998 || strings.ContainsAny(l, "\r\n\x00") {
				t.Errorf("%.20q: line %q", evil, l)
			}
		}
		if !strings.Contains(string(got), "[IPv6:2001:db8::1]") {
			t.Errorf("%q", got)
		}
	}
}

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"w<b></b>ire":         "wire",
		"<p>a</p><p>b<br>c":   "a\nb\nc",
		"a<!-- <b>x</b> -->b": "ab",
		"a<style>x{}</style>b<SCRIPT>if (a<b) {}</script >c": "abc",
		"a &lt; b &amp; c&#33;":                              "a < b & c!",
		"1 < 2 <> 3 <3":                                      "1 < 2 <> 3 <3",
		`<a title="a>b" href='x>y'>t</a>`:                    "t",
		"<a title=\"never closed>t":                          "t",
		"<b":                                                 "",
		"<!-- never closed":                                  "",
		"<":                                                  "<",
	} {
		if got := string(HTMLText([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
