package senderauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// The messages of testdata/arc were sealed by dkimpy 1.1.4 with keys of their
// own; it says of each what stands here.
func arcWorld(t *testing.T) (*Verifier, *dns.Fake) {
	t.Helper()
	b, err := os.ReadFile("testdata/arc/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	fake := &dns.Fake{TXT: map[string][]string{}, Fail: map[string]error{}}
	for name, key := range keys {
		fake.TXT[name] = []string{key}
	}
	return New(fake), fake
}

func readARC(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/arc", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Chains made by another implementation: whole, long, broken on the way, and
// sealed as broken.
func TestARC(t *testing.T) {
	v, _ := arcWorld(t)
	for name, want := range map[string]string{
		"one":       "pass [example.org] 0",
		"two":       "pass [example.org lists.example.net] 0",
		"three":     "pass [example.org lists.example.net forward.example.com] 0",
		"broken":    "fail [example.org lists.example.net] 0",
		"afterfail": "fail [] 0",
	} {
		got, err := v.ARC(t.Context(), bytes.NewReader(readARC(t, name)))
		if s := fmt.Sprint(got.Verdict, " ", got.Sealers, " ", got.Oldest); err != nil || s != want {
			t.Errorf("%s: %s, want %s (%s, %v)", name, s, want, got.Reason, err)
		}
	}
	if got, err := v.ARC(t.Context(), strings.NewReader("From: a@b.c\r\n\r\n")); err != nil || got.Verdict != None {
		t.Errorf("without a chain: %+v, %v", got, err)
	}
	if _, err := v.ARC(t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("an error of reading is not said")
	}
}

// What is done to a chain breaks it: each row one change.
func TestARCChanged(t *testing.T) {
	v, fake := arcWorld(t)
	two := string(readARC(t, "two"))
	seal := func(n string) string {
		for _, f := range split([]byte(two)) {
			if strings.HasPrefix(f, "ARC-Seal:") && strings.Contains(f, " i="+n+";") {
				return f
			}
		}
		t.Fatal("no seal " + n)
		return ""
	}
	for name, change := range map[string][2]string{
		"body":                 {"Hello", "Hallo"},
		"signed field":         {"From: alice@", "From: mallory@"},
		"earlier results":      {"spf=pass smtp.mailfrom", "spf=fail smtp.mailfrom"},
		"seal taken out":       {seal("1"), ""},
		"seal twice":           {seal("2"), seal("2") + seal("2")},
		"gap":                  {"i=2;", "i=3;"},
		"instance 0":           {"i=1;", "i=0;"},
		"instance 51":          {"i=1;", "i=51;"},
		"instance huge":        {"i=1;", "i=99999999999999999999;"},
		"cv":                   {"cv=pass", "cv=none"},
		"h in a seal":          {"cv=pass;", "cv=pass; h=from;"},
		"unknown algorithm":    {"a=rsa-sha256", "a=rsa-sha1"},
		"no canonical form":    {"c=relaxed/relaxed", "c=nothing/relaxed"},
		"part of the body":     {"bh=", "l=1; bh="},
		"seal in signature":    {"h=from", "h=arc-seal:from"},
		"tag twice":            {"cv=pass;", "cv=pass; cv=pass;"},
		"selector without key": {"s=s2", "s=s9"},
	} {
		if !strings.Contains(two, change[0]) {
			t.Fatalf("%s: %q is not in the message", name, change[0])
		}
		got, err := v.ARC(t.Context(), strings.NewReader(strings.ReplaceAll(two, change[0], change[1])))
		if err != nil || got.Verdict != Fail || got.Reason == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	fake.Fail["s2._domainkey.lists.example.net"] = errs.New(errs.Temporary, "timeout")
	if got, _ := v.ARC(t.Context(), strings.NewReader(two)); got.Verdict != TempError {
		t.Errorf("DNS is away: %+v", got)
	}
}

// Register C6: a long chain costs few questions, and any header only work that
// grows with it.
func TestSEC_C6_ARC(t *testing.T) {
	v, fake := arcWorld(t)
	var b strings.Builder
	for i := 1; i <= maxSets; i++ {
		cv := "pass"
		if i == 1 {
			cv = "none"
		}
		fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=d%d.example; s=s; b=AAAA\r\nARC-Message-Signature: i=%d; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i=%d; x; none\r\n", i, cv, i, i, i, i)
	}
	got, err := v.ARC(t.Context(), strings.NewReader(b.String()+"From: a@b.c\r\n\r\n"))
	if err != nil || got.Verdict != Fail || len(got.Sealers) != maxSets {
		t.Errorf("%+v, %v", got, err)
	}
	fake.TXT = nil
	c := &chain{v: v, ctx: t.Context(), keys: map[string]*publicKey{}}
	for i := range maxSignatures {
		c.keys[fmt.Sprint(i)] = nil
	}
	if err := c.verify(map[string]string{"s": "s", "d": "d.example", "a": "rsa-sha256"}, ""); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("the eleventh key: %v", err)
	}
}

// The canonical forms of RFC 6376 section 3.4.5, and every way to cut a body
// gives the same.
func TestCanonicalBody(t *testing.T) {
	for _, c := range []struct{ body, simple, relaxed string }{
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
		{"", "\r\n", ""},
		{"\r\n\r\n", "\r\n", ""},
		{"a", "a\r\n", "a\r\n"},
		{" \t\r\n \r\n", " \t\r\n \r\n", ""},
		{"a\r\n\r\n b\t\t", "a\r\n\r\n b\t\t\r\n", "a\r\n\r\n b\r\n"},
		{"a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
	} {
		for range 50 {
			for form, want := range map[bool]string{false: c.simple, true: c.relaxed} {
				var out bytes.Buffer
				f := &bodyForm{w: &out, relaxed: form}
				for rest := c.body; rest != ""; {
					n := 1 + rand.IntN(len(rest))
					if m, err := f.Write([]byte(rest[:n])); m != n || err != nil {
						t.Fatal(m, err)
					}
					rest = rest[n:]
				}
				f.Close()
				if out.String() != want {
					t.Fatalf("%q relaxed %v: %q, want %q", c.body, form, out.String(), want)
				}
			}
		}
	}
}

// Keys that are none, or must not be used.
func TestKeyRecords(t *testing.T) {
	v, fake := arcWorld(t)
	good := fake.TXT["s1._domainkey.example.org"][0]
	p := good[strings.Index(good, "p="):]
	for record, want := range map[string]bool{
		good: true, p: true, "k=rsa; " + p + ";": true, "v=DKIM1; h=sha1:sha256; s=*; " + p: true,
		"v=DKIM2; " + p: false, "k=ed25519; " + p: false, "h=sha1; " + p: false, "s=tlsrpt; " + p: false,
		"v=DKIM1; p=": false, "v=DKIM1": false, "p=!!!": false, "p=AAAA": false, p + "; " + p: false, strings.Repeat(" ", maxKeyRecord) + p: false,
	} {
		fake.TXT["k._domainkey.example.org"] = []string{record}
		key, err := v.fetchKey(t.Context(), "k", "example.org", "rsa-sha256")
		if (err == nil) != want || (key == nil) == want {
			t.Errorf("%.40q: %v", record, err)
		}
	}
}

// FuzzHeader: no header makes it panic; a chain that is not as it was is not
// believed.
func FuzzHeader(f *testing.F) {
	for _, name := range []string{"one", "two", "afterfail"} {
		b, err := os.ReadFile(filepath.Join("testdata/arc", name+".eml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("From: \"(<@\r\n\t x\r\nARC-Seal: i=1;;=\r\n\r\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		v := New(&dns.Fake{})
		if got, err := v.ARC(t.Context(), bytes.NewReader(message)); err != nil || got.Verdict == Pass {
			t.Errorf("%+v, %v", got, err)
		}
		if d, err := Author(message); err == nil {
			if d2, err := mail.ParseDomain(d); err != nil || d != d2 {
				t.Errorf("%q is no domain in normal form", d)
			}
		}
		Claims(string(message), "gw.example")
	})
}
