package admin

import (
	"encoding/base64"
	"strings"
	"testing"

	"lazaret/internal/quarantine"
)

// A message is shown as somebody reads it: base64 decoded, charsets, HTML as its
// text with nothing that acts, and no more of it than a screen is for.
func TestShowReadable(t *testing.T) {
	l, s := wardService(t, quarantine.Rules{})
	html := `<html><script>alert("x")</script><style>p{}</style><p>Gr&uuml;&szlig;e <b>w</b>orld<img src="http://tracker.example/x.gif" onerror="y()"></p><p>` + "\u202e" + `of 43` + "\x1b" + `]0;t` + "\x07" + `</p></html>`
	depositContent(t, s, 43, "html", "Subject: html\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n--b\r\n"+
		"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString([]byte(html))+"\r\n--b--\r\n")
	out := first(run(t, l, admin, "quarantine show 43"))
	wants(t, "show", out, "Content-Type: multipart/alternative; boundary=b\n\nGrüße", "\n[part 2, text/html]\n", "Grüße world", `\u202e>>>of 43<<<\u001b]0;t\u0007`)
	for _, bad := range []string{"alert", "tracker", "onerror", "<img", "<p>", "\x1b", "\u202e"} {
		if strings.Contains(out, bad) {
			t.Errorf("%q is shown:\n%s", bad, out)
		}
	}
	wants(t, "parts without names", first(run(t, l, admin, "quarantine parts 43")), "  text/plain\n", "  text/html\n")
	if out, status := run(t, l, admin, "quarantine search attachment-min 3 attachment-max 2"); status == 0 || strings.Contains(out, "Gateway MID") {
		t.Errorf("a refused search has a heading: %d\n%s", status, out)
	}
	wants(t, "part", first(run(t, l, admin, "quarantine show 43 --part 2")), "Grüße world")
	if out := first(run(t, l, admin, "quarantine show 43 --part 2 --base64")); strings.ReplaceAll(out, "\n", "") != base64.StdEncoding.EncodeToString([]byte(html)) {
		t.Errorf("the bytes of a part: %s", out)
	}
	depositContent(t, s, 44, "long", "Subject: long\r\n\r\n"+strings.Repeat("0123456789 ", 5000)+"the last word\r\n")
	out = first(run(t, l, admin, "quarantine show 44"))
	if len(out) > 33<<10 || strings.Contains(out, "the last word") {
		t.Errorf("%d bytes are shown", len(out))
	}
	wants(t, "show", out, "\n(the rest: quarantine parts 44, quarantine show 44 --part PART, or --content)\n")
	wants(t, "content", first(run(t, l, admin, "quarantine show 44 --part 1")), "0123456789 the last word")
}
