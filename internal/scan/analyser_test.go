package scan

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

func analyserOf(t *testing.T, a *testlib.Analyser, key string) *Analyser {
	t.Helper()
	pem, err := os.ReadFile(a.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	return NewAnalyser(AnalyserOptions{URL: a.URL + "/", Key: key, Kinds: []string{"executable"}, Size: 1 << 20, Timeout: time.Minute, Client: &http.Client{Transport: tr}})
}

// A file is asked about by its hash, given when it is not known, and has the
// verdict that the analyser comes to.
func TestAnalyser(t *testing.T) {
	server := testlib.NewAnalyser(t)
	a := analyserOf(t, server, server.Key)
	const content = "MZ program"
	sum := mail.Hash(sha256.Sum256([]byte(content)))
	if _, known, err := a.Look(t.Context(), sum); known || err != nil {
		t.Errorf("%v %v", known, err)
	}
	if v, err := a.Submit(t.Context(), sum, "r\u00e9sum\u00e9.exe\r\nX: y", []byte(content)); err != nil || v.Verdict != mail.FilePending {
		t.Errorf("%+v %v", v, err)
	}
	if names, _ := server.Given(); len(names) != 1 || !strings.HasPrefix(names[0], "=?utf-8?q?") || strings.ContainsAny(names[0], "\r\n") {
		t.Errorf("%q", names)
	}
	for said, want := range map[string]mail.Analysis{
		"clean": {Verdict: mail.FileClean}, "malicious Bad\x1b[2J": {Verdict: mail.FileMalicious, Name: "Bad?[2J"},
		"malicious": {Verdict: mail.FileMalicious}, "unscannable locked": {Verdict: mail.FileUnscannable, Name: "locked"},
	} {
		server.Say(content, said)
		if v, known, err := a.Look(t.Context(), sum); err != nil || !known || v != want {
			t.Errorf("%q is %+v %v %v", said, v, known, err)
		}
	}
	if !a.Wants([]string{"exe", "executable"}) || a.Wants([]string{"png", "image"}) || a.MaxSize() != 1<<20 {
		t.Error("wants other files")
	}
}

// Whatever goes wrong at the analyser is no verdict, and never a clean one
// (register C5).
func TestSEC_C5_AnalyserNeverClean(t *testing.T) {
	sum := mail.Hash(sha256.Sum256(nil))
	good := `{"sha256":"` + sum.String() + `","verdict":"clean"}`
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"refused": {401, good}, "broken": {500, good}, "moved": {302, good}, "accepted": {202, good}, "no content": {204, ""},
		"empty": {200, ""}, "cut": {200, good[:len(good)-1]}, "another file": {200, `{"sha256":"` + strings.Repeat("0", 64) + `","verdict":"clean"}`},
		"of no file": {200, `{"verdict":"clean"}`}, "another word": {200, strings.Replace(good, "clean", "Clean", 1)},
		"too long": {200, `{"x":"` + strings.Repeat("x", maxAnalysis) + `",` + good[1:]}, "two": {200, good + good}, "a list": {200, "[" + good + "]"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		client := &http.Client{Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		a := NewAnalyser(AnalyserOptions{URL: s.URL, Timeout: time.Minute, Client: client})
		v, known, err := a.Look(t.Context(), sum)
		if err != nil || !known || v.Verdict != mail.FileUnscanned || v.Name == "" {
			t.Errorf("%s: %+v %v %v", name, v, known, err)
		}
		if v, err := a.Submit(t.Context(), sum, "", nil); err != nil || v.Verdict != mail.FileUnscanned {
			t.Errorf("%s, given: %+v %v", name, v, err)
		}
		s.Close()
		if v, _, err := a.Look(t.Context(), sum); err != nil || v.Verdict != mail.FileUnscanned {
			t.Errorf("away: %+v %v", v, err)
		}
	}
	server := testlib.NewAnalyser(t)
	if v, _, err := analyserOf(t, server, "wrong").Look(t.Context(), sum); err != nil || v.Verdict != mail.FileUnscanned {
		t.Errorf("with a wrong key: %+v %v", v, err)
	}
	if v, err := analyserOf(t, server, server.Key).Submit(t.Context(), sum, "", []byte("other")); err != nil || v.Verdict != mail.FileUnscanned {
		t.Errorf("another content: %+v %v", v, err)
	}
	stranger := NewAnalyser(AnalyserOptions{URL: server.URL, Timeout: time.Minute, Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if v, _, err := stranger.Look(t.Context(), sum); err != nil || v.Verdict != mail.FileUnscanned {
		t.Errorf("a certificate by nobody: %+v %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := stranger.Look(ctx, sum); !errs.Is(err, errs.Temporary) {
		t.Errorf("ended: %v", err)
	}
}
