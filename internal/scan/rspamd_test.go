package scan

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

func asked(size int) Asked {
	return Asked{
		MID: 7, IP: netip.MustParseAddr("192.0.2.7"), Helo: "h.example", From: mail.Address{Local: "a", Domain: "b.example"},
		To: []mail.Address{{Local: "c", Domain: "d.example"}}, Size: int64(size),
	}
}

func letter2(text string) []byte {
	return []byte("From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nMessage-ID: <1@b.example>\r\nDate: Sat, 28 Nov 2026 00:00:00 +0000\r\n\r\n" + text + "\r\n")
}

// A real Rspamd: the test texts that every one knows, and a rule of our own.
func TestRspamd(t *testing.T) {
	r := NewRspamd(RspamdOptions{URL: testlib.NewRspamd(t)})
	defer r.Close()
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	for text, want := range map[string]mail.SpamVerdict{"hello": mail.SpamNegative, gtube: mail.SpamPositive, "a lazaret-suspect letter": mail.SpamSuspect} {
		b := letter2(text)
		got, err := r.Scan(t.Context(), asked(len(b)), opener(b))
		if err != nil || got.Verdict != want {
			t.Errorf("%.20q: %+v, %v, want %v", text, got, err, want)
		}
		if want == mail.SpamSuspect && (len(got.Symbols) == 0 || got.Score < 6) {
			t.Errorf("symbols: %+v", got)
		}
	}
}

// Register C5: nothing that goes wrong at Rspamd is an answer.
func TestSEC_C5_RspamdNeverNegative(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		want   mail.SpamVerdict
	}{
		"no action":    {200, `{"action":"no action","score":1,"unknown":[{}]}`, mail.SpamNegative},
		"reject":       {200, `{"action":"reject","score":20,"required_score":15,"symbols":{"B\u001b[2J":{"score":1},"A":{"score":"x"}}}`, mail.SpamUnknown},
		"symbols":      {200, `{"action":"reject","symbols":{"B\u001b[2J":{"score":1},"A":{}}}`, mail.SpamPositive},
		"skipped":      {200, `{"action":"no action","is_skipped":true}`, mail.SpamUnknown},
		"error":        {200, `{"error":"no memory","action":"no action"}`, mail.SpamUnknown},
		"no JSON":      {200, `<html>`, mail.SpamUnknown},
		"cut":          {200, `{"action":"no act`, mail.SpamUnknown},
		"nothing":      {200, ``, mail.SpamUnknown},
		"other action": {200, `{"action":"celebrate"}`, mail.SpamUnknown},
		"status":       {500, `{"action":"no action"}`, mail.SpamUnknown},
		"redirect":     {302, `{"action":"no action"}`, mail.SpamUnknown},
		"endless":      {200, `{"x":"` + strings.Repeat("x", 2<<20) + `","action":"no action"}`, mail.SpamUnknown},
		"hangs":        {0, ``, mail.SpamUnknown},
	} {
		quit := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			if q.URL.Path != "/checkv2" || q.Header.Get("IP") != "192.0.2.7" || q.Header.Get("Rcpt") != "c@d.example" || q.Header.Get("Queue-Id") != "7" {
				t.Errorf("asked %s with %v", q.URL, q.Header)
			}
			if row.status == 0 {
				<-quit
				return
			}
			if row.status == 302 {
				w.Header().Set("Location", "http://192.0.2.1/")
			}
			w.WriteHeader(row.status)
			fmt.Fprint(w, row.body)
		}))
		timeout := time.Minute // a busy machine is not an Rspamd that hangs
		if name == "hangs" {
			timeout = 300 * time.Millisecond
		}
		r := NewRspamd(RspamdOptions{URL: srv.URL + "/", Timeout: timeout})
		b := letter2("hello")
		got, err := r.Scan(t.Context(), asked(len(b)), opener(b))
		if err != nil || got.Verdict != row.want || got.Verdict == mail.SpamUnknown && got.Reason == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		for _, s := range append(got.Symbols, got.Reason, got.Action) {
			if strings.Contains(s, "\x1b") {
				t.Errorf("%s: %q", name, s)
			}
		}
		close(quit)
		r.Close()
		srv.Close()
	}
	r := NewRspamd(RspamdOptions{URL: "http://127.0.0.1:1", MaxSize: 10})
	if got, err := r.Scan(t.Context(), asked(1), opener([]byte("x"))); err != nil || got.Reason == "" {
		t.Errorf("away: %+v, %v", got, err)
	}
	if got, err := r.Scan(t.Context(), asked(11), nil); err != nil || got.Reason == "" {
		t.Errorf("too long: %+v, %v", got, err)
	}
	if _, err := r.Scan(t.Context(), asked(1), func() (io.ReadCloser, error) { return io.NopCloser(errReader{}), nil }); err != nil && !errors.Is(err, errRead) {
		t.Errorf("unreadable: %v", err)
	}
}

// What a sender chose cannot begin a header of the question.
func TestRspamdHeaders(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Clone()
		fmt.Fprint(w, `{"action":"no action"}`)
	}))
	defer srv.Close()
	r := NewRspamd(RspamdOptions{URL: srv.URL, Password: "secret"})
	a := asked(5)
	a.Helo, a.From = "evil\r\nIP: 127.0.0.1", mail.Address{Local: "\"x\x00\x1b\r\ny\"", Domain: "b\xc3\xbc.example"}
	res, err := r.Scan(t.Context(), a, opener([]byte("hello")))
	if err != nil || res.Verdict != mail.SpamNegative {
		t.Fatalf("%+v, %v", res, err)
	}
	if len(got["Ip"]) != 1 || got.Get("Password") != "secret" || strings.ContainsAny(got.Get("Helo")+got.Get("From"), "\r\n\x00\x1b") {
		t.Errorf("%v", got)
	}
}
