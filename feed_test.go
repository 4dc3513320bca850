package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The whole way of who writes rules: a key, a check, a feed, the next one.
func TestFeed(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	lazaret := func(want int, args ...string) string {
		t.Helper()
		var out, trouble strings.Builder
		if code := run(t.Context(), env{stdin: strings.NewReader(""), stdout: &out, stderr: &trouble}, append([]string{"feed"}, args...)); code != want {
			t.Fatalf("feed %v: status %d, %s%s", args, code, out.String(), trouble.String())
		}
		return out.String() + trouble.String()
	}
	said := func(got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q is missing in %q", w, got)
			}
		}
	}
	out := lazaret(0, "keygen", at("key.pem"))
	key := out[strings.Index(out, "ed25519:"):]
	key = strings.TrimSpace(key)
	if info, err := os.Stat(at("key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	said(lazaret(exitCantCreate, "keygen", at("key.pem")), "file exists")
	rules := `{"feed":"example","rules":[{"id":"R1","level":4,"kind":"virus","description":"worm in a screen saver","file":{"extension":[".scr"]}}]}`
	if err := os.WriteFile(at("rules.json"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	said(lazaret(0, "check", at("rules.json")), "is good: 1 rules of feed example")
	said(lazaret(0, "publish", "--key", at("key.pem"), at("rules.json"), at("out.feed")), "serial 1, 1 rules")
	said(lazaret(0, "publish", "--key", at("key.pem"), "--valid", "2", at("rules.json"), at("out.feed")), "serial 2, 1 rules")
	said(lazaret(0, "show", "--pin", key, at("out.feed")), "feed example serial 2", "its signature is good", "R1", "level 4  virus    worm in a screen saver")
	said(lazaret(0, "show", at("out.feed")), "nobody checked its signature")
	b, err := os.ReadFile(at("out.feed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("bad.feed"), []byte(strings.Replace(string(b), "screen saver", "screen paver", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	said(lazaret(exitNoPerm, "show", "--pin", key, at("bad.feed")), "no good signature")
	if err := os.WriteFile(at("other.json"), []byte(strings.Replace(rules, `"example"`, `"other"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	said(lazaret(exitCantCreate, "publish", "--key", at("key.pem"), at("other.json"), at("out.feed")), "is the feed example, not other")
	said(lazaret(exitData, "publish", "--key", at("key.pem"), at("rules.json"), at("rules.json")), "is there already and is no feed")
	if err := os.WriteFile(at("wrong.json"), []byte(strings.Replace(rules, `.scr`, `scr`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	said(lazaret(exitData, "check", at("wrong.json")), `rule 1 (R1)`, `"scr" is not an extension`)
	said(lazaret(exitUsage, "publish", at("rules.json"), at("out.feed")), "--key is missing")
	said(lazaret(exitUsage, "burn"), "is not keygen")
}
